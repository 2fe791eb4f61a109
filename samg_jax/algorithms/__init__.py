"""The algorithms, by name: each a frozen dataclass of fixed parts with pure methods."""

from __future__ import annotations

import dataclasses
import difflib
import types as builtin_types

from samg_jax.algorithms import awac, cql
from samg_jax.types import Algorithm

MODULES: dict[str, builtin_types.ModuleType] = {"awac": awac, "cql": cql}


def module(name: str) -> builtin_types.ModuleType:
    """Returns the module of an algorithm; raises ValueError for an unknown name."""
    if name in MODULES:
        return MODULES[name]
    close = difflib.get_close_matches(name, MODULES, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"Unknown algorithm {name!r}.{hint} Known algorithms: "
        f"{', '.join(sorted(MODULES))}. Set config.algorithm to one of them."
    )


def make(name: str, hyperparameters: dict, action_size: int) -> Algorithm:
    """Returns the algorithm of that name, in its offline phase.

    Args:
        name: a key of `MODULES`.
        hyperparameters: fields of the module's `Config`.
        action_size: number of action dimensions.
    """
    chosen = module(name)
    known = [field.name for field in dataclasses.fields(chosen.Config)]
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise ValueError(
            f"{name!r} has no hyperparameters {', '.join(unknown)}. It has "
            f"{', '.join(known)}. Use the config file of the algorithm: "
            f"--config=configs/{name}.py."
        )
    return chosen.make(chosen.Config(**hyperparameters), action_size)
