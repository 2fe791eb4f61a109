"""Modules that are imported at their first use, so that programs answer at once.

    experiment = lazy.module("samg_jax.runs.lifecycle")

A program imports like this every module that needs JAX, MuJoCo, pandas or another
library that takes seconds to import. `--help` and a refused flag import none of them.
"""

from __future__ import annotations

import importlib
import types
from typing import Any


class _Lazy(types.ModuleType):
    """Stands for a module: everything but its name is read and set there."""

    @property
    def __dict__(self) -> dict[str, Any]:
        return vars(importlib.import_module(self.__name__))

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(importlib.import_module(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(importlib.import_module(self.__name__), name)


def module(name: str) -> types.ModuleType:
    """The module of that dotted name, which its first attribute imports.

    The standard library's `LazyLoader` imports the package that holds the module,
    which is too much for some packages here.
    """
    return _Lazy(name)
