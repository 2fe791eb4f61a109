"""The one channel for users' mistakes, and the checks that several modules share.

A `UserError` says what was given, what is allowed, and what to do. It is raised on
purpose, where the value is known. Messages name a setting without dashes, as the field
`config.GROUP.NAME` or as `NAME=VALUE`; `program` spells it as the flag. Any other
exception is a bug, in this package or in a module of the user's, and keeps its
traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from absl import flags

from samg_jax import flushing

# A field of the config in a message, unless it is spelled as a flag already.
_FIELD = re.compile(
    r"(?<![\w./-])config\.(?=[a-z_]+\b(?!\.(?:py|json)))(?!json\b|py\b)"
)
_ENV_ID = re.compile(r"(?<![\w./-])config\.env_id\b")
# Where a message may name another setting: at its start, or as `NAME=` after one of
# these words, or at the end as what to change. Elsewhere, as in the signature of a
# function, it is something else.
_SETTING = re.compile(
    r"^([a-z_]+)(?==| (?:is|has|names|varies) )"
    r"|(?<![\w./])(?:[Ss]et|[Gg]ive|[Ww]rite|[Ll]ower|[Rr]aise|Check|[Ww]ith|without"
    r"|as in|and|another|example,|of|one:|or|to|use) ([a-z_]+)(?==)"
    r"|(?<![\w./])[Ss]et ([a-z_]+)(?= to )"
    r"|(?<![\w./])(?:[Ll]ower|[Rr]aise) ([a-z_]+)(?=\.$)"
)


class UserError(ValueError):
    """A mistake by the user: what was given, what is allowed, what to do."""


@contextlib.contextmanager
def program(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Ends the program with one line if the block raises a `UserError`.

    Args:
        interrupted: The message after Ctrl-C.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {with_flags(str(error))}")
    except KeyboardInterrupt:
        sys.exit(with_flags(interrupted))


def with_flags(message: str) -> str:
    """A message with its settings spelled as flags, if the running program has them."""
    if "env" in flags.FLAGS and "config" not in flags.FLAGS:
        # A program without a config, which takes the environment by a flag.
        message = _ENV_ID.sub("--env", message)
    return _SETTING.sub(_spelled, _FIELD.sub("--config.", message))


def _spelled(found: re.Match[str]) -> str:
    name = found[found.lastindex]
    dashes = "--" if name in flags.FLAGS else ""
    return f"{found[0].removesuffix(name)}{dashes}{name}"


def hint(
    given: Any, known: Iterable[str], prefix: str = "", cutoff: float = 0.6
) -> str:
    """The sentence `Did you mean ...? ` with the nearest known name, or nothing.

    Args:
        given: The unknown name.
        known: The known names.
        prefix: The prefix to show the name with, such as `config.`; without one,
            the name is quoted.
        cutoff: The least similarity, from 0 to 1.
    """
    close = difflib.get_close_matches(str(given), list(known), n=1, cutoff=cutoff)
    if not close:
        return ""
    return f"Did you mean {prefix + close[0] if prefix else repr(close[0])}? "


def choice(name: str, value: str, allowed: Iterable[str], advice: str = "") -> None:
    """Refuses a value that is not one of `allowed`, and proposes the nearest."""
    allowed = sorted(allowed)
    if value in allowed:
        return
    raise UserError(
        f"{name} is {value!r}, which is unknown. Allowed: {', '.join(allowed)}. "
        f"{hint(value, allowed)}{advice or f'Set {name} to one of these.'}"
    )


def number(
    name: str,
    value: float,
    low: float,
    high: float,
    example: float,
    strict: bool = False,
) -> None:
    """Refuses a value that is not finite or is outside [low, high].

    If `strict`, the bounds themselves are refused as well.
    """
    inside = low < value < high if strict else low <= value <= high
    if inside and math.isfinite(value):
        return
    raise UserError(
        f"{name} is {value!r}. It must be a finite number{_words(low, high, strict)}. "
        f"Set {name} to such a number, for example {example:g}."
    )


def _words(low: float, high: float, strict: bool) -> str:
    """An interval in words, with a space before them."""
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" above {low:g}" if strict else f" of at least {low:g}"
    return f" between {low:g} and {high:g}" + ", both excluded" * strict


def integer(name: str, value: int, low: int) -> None:
    """Refuses anything but an integer of at least `low`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= low:
        return
    raise UserError(
        f"{name} is {value!r}. It must be an integer of at least {low}. Set "
        f"{name}={low} or more."
    )


def folder(path: pathlib.Path, flag: str) -> None:
    """Creates a folder; refuses one into which no files can be written.

    Args:
        path: The folder.
        flag: The setting that names it, such as `out=FOLDER`.
    """
    try:
        flushing.make_folder(path)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write into {str(path)!r}: {error.strerror}. It must be a "
            f"folder that can be created and written to. Set another one: {flag}."
        ) from error


def file(path: pathlib.Path, flag: str, overwrite: bool) -> None:
    """Refuses a file that cannot be written, or exists and may not be replaced.

    Args:
        path: The file.
        flag: The setting that names it, such as `out`.
        overwrite: Whether an existing file may be replaced.
    """
    folder(path.absolute().parent, f"{flag}=FOLDER/FILE")
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; a file is needed. Set {flag}={path}/FILE."
        )
    if path.exists() and not overwrite:
        raise UserError(
            f"{path} exists already. Nothing is overwritten unasked. Set another "
            f"{flag}=FILE, or overwrite=True."
        )


def can_write(path: pathlib.Path, flag: str) -> None:
    """Refuses a folder as `folder` does, without creating anything."""
    existing = path.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise UserError(
            f"Cannot write into {str(path)!r}: {str(existing)!r} is not a folder "
            f"that can be written to. Set another one: {flag}."
        )
