"""What a file that others wrote may make this process do: nothing, unless told to.

A checkpoint, a dataset or a folder of results can name a module to import, or hold a
pickle. A module that the user's own command names is imported by that command, so it
is loaded already when a file names it again; anything else needs `--trust`.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Iterator

from absl import flags

from samg_jax import checks

flags.disclaim_key_flags()  # They are the programs'.
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
    """Refuses a module that a file names and that is not loaded; see the module's doc.

    Args:
        name: of the module.
        origin: the file that names it, and where, in words.
    """
    if name not in sys.modules:
        require(f"{origin} wants to import the Python module {name!r}")


def require(wanted: str) -> None:
    """Refuses what only `--trust` allows.

    Args:
        wanted: a clause that says which file wants what.
    """
    if not _TRUSTED.get():
        raise checks.UserError(
            f"{wanted}. That would run code of whoever wrote the file, and this "
            "command does not name it. If you trust them, set trust=True."
        )


def config(fields: dict, origin: str) -> None:
    """Refuses modules that the saved config of a run names; see `module`.

    Args:
        fields: nested, as `config.json` has them.
        origin: the file or folder, in words.
    """
    env_id = fields.get("env_id") or ""
    if ":" in env_id:
        module(env_id.rpartition(":")[0], f"{origin}, whose env_id is {env_id!r},")
    weights = (fields.get("guidance") or {}).get("module")
    if weights:
        module(weights, f"{origin}, whose guidance.module is {weights!r},")
