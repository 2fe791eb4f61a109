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


def register(name: str, own: builtin_types.ModuleType) -> None:
    """Makes your own algorithm available as `config.algorithm=name`.

    Call it in the module that `config.guidance.module` names; see
    examples/own_algorithm.py.

    Args:
        name: not one of the package's.
        own: has a frozen dataclass `Config` and `make(config, action_size)`, which
            returns a `types.Algorithm`.

    Raises:
        checks.UserError: the name is taken, or the module lacks one of the two.
    """
    taken = MODULES.get(name)
    if taken is not None and taken.__name__ != own.__name__:
        raise checks.UserError(
            f"The algorithm {name!r} is already that of {taken.__name__}. Register "
            f"{own.__name__} under another name."
        )
    missing = [part for part in ("Config", "make") if not hasattr(own, part)]
    if missing:
        raise checks.UserError(
            f"The module {own.__name__} has no {' and no '.join(missing)}. It needs a "
            "frozen dataclass Config and a function make(config, action_size). Define "
            "them before register is called."
        )
    MODULES[name] = own


def module(name: str) -> builtin_types.ModuleType:
    """Returns the module of an algorithm; raises UserError for an unknown name."""
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
            f"{', '.join(known)}. Name the config file of the algorithm "
            f"too, as in config=configs/{name}.py."
        )
    chosen = module(name)
    return chosen.make(chosen.Config(**settings), action_size)
