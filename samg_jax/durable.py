"""Files that survive a power cut: written aside, flushed, then renamed.

A file that a resume needs appears under its name whole or not at all. `os.replace`
alone does not promise that: after a power cut the name may stand before the content.
So the content is flushed to the disk first, and the folder that holds the name last.

A disk that takes no more is the user's to mend: `writing` and `check_room` say so in
one line that names the folder.
"""

from __future__ import annotations

import concurrent.futures
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

# What the system reports if a folder takes no more: full, over quota, read-only, no
# longer this user's, and a device or a network that is gone.
DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EIO,
    errno.ESTALE,
)
FLUSHES = 16  # Concurrent ones share a commit of the file system's journal.


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
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Indented JSON as `write_json` writes it."""
    return (json.dumps(value, indent=2) + "\n").encode()


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
    walked = list(os.walk(folder, topdown=False))
    files = [
        pathlib.Path(parent, name) for parent, _, names in walked for name in names
    ]
    with concurrent.futures.ThreadPoolExecutor(FLUSHES) as pool:
        list(pool.map(sync, files))
    for parent, *_ in walked:
        sync(pathlib.Path(parent))
    sync(folder.parent)


@contextlib.contextmanager
def writing(folder: pathlib.Path, needed: int | None = None) -> Iterator[None]:
    """Turns a disk that takes no more, inside the block, into the user's error.

    Args:
        folder: that is written into, for the message.
        needed: bytes that the block writes, if known.

    Raises:
        checks.UserError: the disk is full, over quota, read-only or gone.
    """
    try:
        yield
    except checks.UserError:
        raise
    except Exception as error:
        reason = disk_error(error)
        if reason is None:
            raise
        raise checks.UserError(_no_room(folder, needed, reason)) from error


def disk_error(error: BaseException) -> str | None:
    """The system's words if an error says that a disk takes no more, else None.

    Libraries in C++ report these as text in errors of their own.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in DISK_ERRORS:
            return os.strerror(seen.errno)
        if not isinstance(seen, OSError):
            for number in DISK_ERRORS:
                if os.strerror(number) in str(seen):
                    return os.strerror(number)
        seen = seen.__cause__ or seen.__context__
    return None


def free_bytes(folder: pathlib.Path) -> int:
    """Free bytes of the disk that holds a folder, which need not exist yet."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return shutil.disk_usage(existing).free


def check_room(folder: pathlib.Path, needed: int) -> None:
    """Refuses to write `needed` bytes into a folder whose disk has fewer free.

    Raises:
        checks.UserError: before anything is written.
    """
    if free_bytes(folder) < needed:
        raise checks.UserError(
            _no_room(folder, needed, os.strerror(errno.ENOSPC).capitalize())
        )


def _no_room(folder: pathlib.Path, needed: int | None, reason: str) -> str:
    try:
        free = f"{free_bytes(folder):,} bytes are free"
    except OSError:  # The disk itself is gone.
        free = "how much is free cannot be read"
    if needed is not None:
        free = f"{needed:,} bytes are needed there, {free}"
    return (
        f"Cannot write into {str(folder)!r}: {reason}; {free}. What was saved before "
        "is intact. Make room, or make the disk writable; then the same command goes "
        "on from the last checkpoint."
    )


def same_disk(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two paths, there yet or not, are on one file system."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(path: pathlib.Path) -> pathlib.Path:
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
