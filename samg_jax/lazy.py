"""Import modules at their first use, so that programs respond at once.

    experiment = lazy.module("samg_jax.runs.lifecycle")

A program imports every module this way that needs JAX, MuJoCo, pandas or another slow
library. `--help` and a rejected flag then import none of them.
"""

from __future__ import annotations

import importlib
import types
from typing import Any


class _Lazy(types.ModuleType):
    """A stand-in for a module: attributes are read and set on the real one."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # Read-only.
        return vars(importlib.import_module(self.__name__))

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(importlib.import_module(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(importlib.import_module(self.__name__), name)


def module(name: str) -> types.ModuleType:
    """A stand-in for the module `name`; the first access imports the module.

    The standard library's `LazyLoader` imports the package that holds the module,
    which is too slow for some packages here.
    """
    return _Lazy(name)
