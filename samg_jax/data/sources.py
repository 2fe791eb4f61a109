"""Offline data by whatever names them: a file, a D4RL name, or `minari:ID`."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

from samg_jax import checks
from samg_jax.data import d4rl, minari_source

FILE_SUFFIXES = (".hdf5", ".h5")


def minari_id(
    name: str | None, path: str | os.PathLike[str] | None = None
) -> str | None:
    """Returns the id of the Minari dataset that is named, None for other data."""
    if path or not name or not name.startswith(minari_source.PREFIX):
        return None
    found = name.removeprefix(minari_source.PREFIX).strip()
    if not found:
        raise checks.UserError(
            f"The dataset {name!r} names none of Minari's. Write its id after the "
            "colon, as in minari:mujoco/hopper/medium-v0."
        )
    return found


def read(
    name: str,
    path: str | os.PathLike[str] | None = None,
    download: bool = True,
    log: Callable[[str], None] = print,
) -> tuple[d4rl.Raw, str]:
    """Returns the rows of a dataset, and its file, or the name of Minari's.

    Args:
        name: a D4RL name, `hopper-demo` or `minari:ID`; not looked at with a `path`.
        path: an explicit file; None or empty for none.
        download: whether a D4RL file that is not in the cache may be fetched.
        log: receives a line about where the file comes from.

    Raises:
        checks.UserError: what is named is unknown, or cannot be used.
        DownloadError: a D4RL file is missing and cannot be had.
    """
    minari = minari_id(name, path)
    if minari is not None:
        return minari_source.load(minari), name
    file = d4rl.resolve(name, path, download, log)
    if path and d4rl.is_original(file):
        log(f"{file} has the name of D4RL's file; it is read as D4RL reads it")
    load = d4rl.load_own if path and not d4rl.is_original(file) else d4rl.load
    return load(file), str(file)


def split(given: str) -> tuple[str, str | None]:
    """Returns name and path of a text that is either; see `read`."""
    is_file = pathlib.Path(given).suffix in FILE_SUFFIXES and not minari_id(given)
    return ("", given) if is_file else (given, None)


def label(given: str) -> str:
    """Returns what data are called: a file's stem, or the name in full."""
    name, path = split(given)
    if path is not None:
        return pathlib.Path(path).stem
    return name if minari_id(name) else d4rl.canonical_name(name)
