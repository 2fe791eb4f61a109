"""The registration of an environment's id, and the modules that it needs."""

from __future__ import annotations

import difflib
import importlib
import re
import types
from collections.abc import Iterable

import gymnasium
from gymnasium.envs import registration

from samg_jax import checks, foreign

# Exceptions that report a missing package.
MISSING = (ImportError, gymnasium.error.DependencyNotInstalled)
LISTED = 5  # The number of ids that a message lists.
CLOSE = 0.75  # The least similarity, without versions, of a proposed name.


def find(env_id: str) -> registration.EnvSpec:
    """The registration of an id; imports the module before its colon, if any."""
    module, colon, name = env_id.rpartition(":")
    if colon:
        _check_module(module, env_id)
        import_module(module, env_id)
    if name in gymnasium.registry:
        return gymnasium.registry[name]
    # An id without a version means the newest version.
    versions = [
        other
        for other in gymnasium.registry
        if re.fullmatch(rf"{re.escape(name)}-v\d+", other)
    ]
    if versions:
        return gymnasium.registry[max(versions, key=_version)]
    if colon and not name:
        raise checks.UserError(
            f"The environment {env_id!r} ends with the colon; an id must follow. "
            f"{_registers(module)}Set config.env_id={module}:ID."
        )
    if colon:
        nearest = nearest_id(name, registered_by(module)) or _registers(module)
        raise checks.UserError(
            f"The module {module!r} was imported, but registers no environment "
            f"{name!r}. {nearest}It must call gymnasium.register({name!r}, ...) while "
            "it is imported. Correct the id, or name the module that does."
        )
    nearest = nearest_id(name, gymnasium.registry)
    raise checks.UserError(
        f"Unknown environment {env_id!r}. {nearest}Allowed are ids registered with "
        "gymnasium, which D4RL's AntMaze names and the locomotion ids are. To use your "
        "own environment, put the module that registers it, with gymnasium.register, "
        f"before a colon: config.env_id=MODULE:{name}, as in module:{name} for "
        "module.py. Python must find the module: start in its folder, or set "
        "PYTHONPATH=FOLDER."
    )


def nearest_id(name: str, known: Iterable[str]) -> str:
    """A hint at the id with the most similar name, or nothing.

    It has the requested version if that exists, else the newest. Versions do not count
    for similarity: they would make `Arm-v0` and `Ant-v5` look alike.
    """
    found: dict[str, str] = {}
    version = _version(name)
    for other in sorted(
        known, key=lambda one: (_version(one) == version, _version(one))
    ):
        found[_unversioned(other)] = other
    wanted = _unversioned(name)
    lower = {base.lower(): base for base in found}
    base = lower.get(wanted.lower())
    if base is None:
        close = difflib.get_close_matches(wanted, found, n=1, cutoff=CLOSE)
        base = close[0] if close else None
    # `hint` only formats the id, which is already certain.
    return checks.hint(found[base], [found[base]]) if base else ""


def registered_by(module: str) -> list[str]:
    """The ids whose entry points are in a module or in its package."""
    root = module.partition(".")[0]
    found = []
    for name, spec in gymnasium.registry.items():
        point = spec.entry_point
        if not isinstance(point, str):
            point = getattr(point, "__module__", None) or ""
        if point.partition(":")[0].partition(".")[0] == root:
            found.append(name)
    return found


def _registers(module: str) -> str:
    known = registered_by(module)
    more = ", ..." if len(known) > LISTED else ""
    return f"It registers {', '.join(known[:LISTED])}{more}. " if known else ""


def is_module(name: str) -> bool:
    """Whether a text is a module's name as Python imports it."""
    return re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) is not None


def import_module(module: str, env_id: str) -> types.ModuleType:
    """Import a module that an environment needs; says in one line what is missing."""
    with foreign.ending_aloud(
        f"The module {module!r} of the environment {env_id!r}",
        "A module must only define and register when it is imported. Put what it runs "
        "under `if __name__ == '__main__':`, or correct it.",
    ):
        try:
            return importlib.import_module(module)
        except MISSING as error:
            raise not_importable(env_id, error, module) from error


def not_importable(
    env_id: str, error: Exception, module: str | None = None
) -> checks.UserError:
    """The error about a missing package that an environment needs.

    Args:
        env_id: The id of the environment.
        error: The exception that the import raised.
        module: The imported module; None if an import inside the environment failed.
    """
    said = f"The environment {env_id!r} cannot be imported: {foreign.line(error)}"
    missing = getattr(error, "name", None)
    if module and missing and f"{module}.".startswith(f"{missing}."):
        where = "is registered there as its entry_point"
        if env_id.startswith(f"{module}:"):
            where = "is named before the colon"
        return checks.UserError(
            f"{said}. The module {module!r} {where}. Install the package that has it, "
            "start in its folder, set PYTHONPATH=FOLDER, or correct the name."
        )
    if isinstance(error, gymnasium.error.DependencyNotInstalled):
        return checks.UserError(
            f"{said}. Run that in the Python that runs this, or set another "
            "config.env_id."
        )
    return checks.UserError(
        f"{said} ({foreign.place(error)}). Install the package that has it in the "
        "Python that runs this, or correct that import."
    )


def _check_module(module: str, env_id: str) -> None:
    if is_module(module) and not module.endswith(".py"):
        return
    name = re.sub(r"\.py$", "", module).rpartition("/")[2]
    name = name if is_module(name) else "MODULE"
    raise checks.UserError(
        f"The environment {env_id!r} names {module!r} as the module that registers "
        "it. A module is named as Python imports it: without .py, without a "
        f"folder. Set config.env_id={name}:{env_id.rpartition(':')[2]} "
        "and PYTHONPATH=FOLDER."
    )


def _unversioned(name: str) -> str:
    return re.sub(r"-v\d+$", "", name)


def _version(name: str) -> int:
    found = re.search(r"-v(\d+)$", name)
    return int(found[1]) if found else -1
