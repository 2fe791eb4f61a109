"""The algorithms, by name: each a frozen dataclass of fixed parts with pure methods."""

from __future__ import annotations

import dataclasses
import types as builtin_types

from samg_jax import checks
from samg_jax.algorithms import awac, bc, cql, iql, spot, td3_bc
from samg_jax.types import Algorithm

# Cal-QL is CQL with its switch `calibrated`; the name keeps their runs apart.
MODULES: dict[str, builtin_types.ModuleType] = {
    "awac": awac,
    "bc": bc,
    "cal_ql": cql,
    "cql": cql,
    "iql": iql,
    "spot": spot,
    "td3_bc": td3_bc,
}


def module(name: str) -> builtin_types.ModuleType:
    """Returns the module of an algorithm; raises ValueError for an unknown name."""
    if name in MODULES:
        return MODULES[name]
    hint = checks.hint(name, MODULES)
    raise checks.UserError(
        f"Unknown algorithm {name!r}. {hint}Known algorithms: "
        f"{', '.join(sorted(MODULES))}. Set config.algorithm to one of them."
    )


def hyperparameters(name: str) -> list[str]:
    """Returns the names of an algorithm's hyperparameters."""
    return [field.name for field in dataclasses.fields(module(name).Config)]


def make(name: str, settings: dict, action_size: int) -> Algorithm:
    """Returns the algorithm of that name, in its offline phase.

    Args:
        name: a key of `MODULES`.
        settings: hyperparameters, fields of the module's `Config`.
        action_size: number of action dimensions.
    """
    known = hyperparameters(name)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise checks.UserError(
            f"{name!r} has no hyperparameters {', '.join(unknown)}. It has "
            f"{', '.join(known)}. Use the config file of the algorithm: "
            f"--config=configs/{name}.py."
        )
    chosen = module(name)
    return chosen.make(chosen.Config(**settings), action_size)
