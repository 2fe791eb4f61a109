"""Files that survive a power cut: written aside, flushed, then renamed.

A file that a resume needs appears under its name whole or not at all. `os.replace`
alone does not promise that: after a power cut the name may stand before the content.
So the content is flushed to the disk first, and the folder that holds the name last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from samg_jax import checks


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file by `data`, whole or not at all, also across a power cut.

    The temporary file beside it is removed if it cannot be written, on a full disk for
    example; the file that was there before then stays.
    """
    # Of its own name per process, because two may write the same file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file by UTF-8 text; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces a file by indented JSON; see `write_bytes`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def sync(path: pathlib.Path) -> None:
    """Flushes a file, or the names in a folder, to the disk."""
    # Windows cannot open folders; its renames need no flush.
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: pathlib.Path) -> None:
    """Flushes the names in a folder: what was created, renamed or deleted there."""
    sync(folder)


def sync_tree(folder: pathlib.Path) -> None:
    """Flushes every file and folder below `folder`, itself and its name included."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(pathlib.Path(parent, name))
        sync(pathlib.Path(parent))
    sync(folder.parent)


def is_full(error: OSError) -> bool:
    """Whether a disk, or the user's share of it, had no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def full(folder: pathlib.Path, needed: int | None = None) -> checks.UserError:
    """The error that says a disk is full, and what to do.

    Args:
        folder: where something could not be written.
        needed: bytes of it, where they are known.
    """
    try:
        free = f"{shutil.disk_usage(existing(folder)).free:,} bytes are free"
    except OSError:
        free = "how much is free is unknown"
    wanted = f"{needed:,} bytes are needed, " if needed is not None else ""
    return checks.UserError(
        f"The disk of {str(folder)!r} is full, or your share of it: {wanted}{free}. "
        "What was saved before is intact. Make room, then give the same command again."
    )


@contextlib.contextmanager
def explain_full_disk(
    folder: pathlib.Path, needed: int | None = None
) -> Iterator[None]:
    """Says in one line where and how much, if the block finds the disk full."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise full(folder, needed) from error


def same_disk(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two paths, there yet or not, are on one file system."""
    return existing(one).stat().st_dev == existing(other).stat().st_dev


def existing(path: pathlib.Path) -> pathlib.Path:
    """The path itself, or else the nearest folder above that is there."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def short_name(name: str, longest: int = 120) -> str:
    """A name that file systems hold: a long one is cut and told apart by its hash.

    Args:
        name: of a file, without what is put before or behind it.
        longest: bytes; file systems allow 255 of the whole.
    """
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= longest:
        return name
    mark = "-" + hashlib.sha256(data).hexdigest()[:8]
    return data[: longest - len(mark)].decode("utf-8", "ignore") + mark
