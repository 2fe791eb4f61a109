"""The limits on files from others: they may not run code, unless the user allows it.

A checkpoint, a dataset or a folder of results can name a module to import, or contain a
pickle. A module that the user's own command names is already imported when a file names
it again; anything else needs `--trust`.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Iterator, Mapping

from absl import flags

from samg_jax import checks

flags.disclaim_key_flags()  # The flags belong to the programs.
_TRUSTED = contextvars.ContextVar("trusted", default=False)


def define_flag() -> flags.FlagHolder:
    """Defines `--trust` for a program."""
    return flags.DEFINE_bool(
        "trust",
        False,
        "Allow input files to run code: module imports and pickles. Use it only for "
        "files that you trust.",
    )


@contextlib.contextmanager
def files(trusted: bool) -> Iterator[None]:
    """Inside the block, files may import and call what they name, if `trusted`."""
    token = _TRUSTED.set(trusted)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def module(name: str, origin: str) -> None:
    """Refuses a module that a file names, unless it is already imported.

    Args:
        name: The name of the module.
        origin: The file that names the module, and the place in it, in words.
    """
    if name not in sys.modules:
        require(f"{origin} wants to import the Python module {name!r}")


def require(wanted: str) -> None:
    """Refuses what only `--trust` allows.

    Args:
        wanted: A clause that says which file wants what.
    """
    if not _TRUSTED.get():
        raise checks.UserError(
            f"{wanted}. That would run code of whoever wrote the file, and this "
            "command does not name it. If you trust them, set trust=True."
        )


def config(fields: Mapping, origin: str) -> None:
    """Refuses modules that the saved config of a run names; see `module`.

    Args:
        fields: The nested fields, as in `config.json`.
        origin: The file or folder, in words.
    """
    env_id = fields.get("env_id") or ""
    if ":" in env_id:
        module(env_id.rpartition(":")[0], f"{origin}, whose env_id is {env_id!r},")
    weights = (fields.get("guidance") or {}).get("module")
    if weights:
        module(weights, f"{origin}, whose guidance.module is {weights!r},")
