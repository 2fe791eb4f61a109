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
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from samg_jax import checks, flushing

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
TRIED = 1 << 18  # Bytes that tell whether a disk takes more.
FLUSHES = 16  # Concurrent ones share a commit of the file system's journal.
# How TensorStore and HDF5 report the system's error, in the text of their own.
IN_TEXT = re.compile(r"(?:os_error_code='|OS error |errno = )(\d+)")
# What to do, at the end of the message.
RESUME = (
    "What was saved before is intact. Make room, or make the disk writable; then the "
    "same command goes on from the last checkpoint."
)
AGAIN = (
    "Make room, make the disk writable, or name another place; then give the same "
    "command again."
)

sync, make_folder = flushing.sync, flushing.make_folder


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file by `data`, whole or not at all, also across a power cut.

    The temporary file beside it is removed if it cannot be written, on a full disk for
    example; the file that was there before then stays.
    """
    # Each process has its own name, because two may write the same file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a file, written under another name, its own.

    Raises:
        checks.UserError: a folder has that name.
    """
    try:
        temporary.replace(path)
    except OSError as error:
        if not path.is_dir():
            raise
        raise _folder_there(path) from error


def _folder_there(path: pathlib.Path | str) -> checks.UserError:
    return checks.UserError(
        f"{str(path)!r} is a folder, where a file is written. Rename that folder, "
        "then give the same command again."
    )


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file by UTF-8 text; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces a file by indented JSON; see `write_bytes`."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Indented JSON as `write_json` writes it."""
    return (json.dumps(value, indent=2) + "\n").encode()


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


def write_result(path: pathlib.Path, data: bytes | str) -> None:
    """Replaces a file that a program was asked for; see `write_bytes`.

    Raises:
        checks.UserError: the disk takes no more.
    """
    data = data.encode() if isinstance(data, str) else data
    with writing(path.absolute().parent, len(data), AGAIN):
        write_bytes(path, data)


@contextlib.contextmanager
def writing(
    folder: pathlib.Path,
    needed: int | None = None,
    advice: str = RESUME,
    libraries: bool = False,
) -> Iterator[None]:
    """Turns a disk that takes no more, inside the block, into the user's error.

    The block holds what is written, and nothing that computes.

    Args:
        folder: that is written into.
        needed: bytes that the block writes, if known.
        advice: what to do, at the end of the message.
        libraries: whether TensorStore or HDF5 write in the block, whose errors have
            the system's only in their text.

    Raises:
        checks.UserError: the disk is full, over quota, read-only or gone.
    """
    try:
        yield
    except checks.UserError:
        raise
    except Exception as error:
        if isinstance(error, IsADirectoryError) and _is_below(error, folder):
            raise _folder_there(os.fsdecode(error.filename)) from error
        reason = disk_error(error, folder, libraries)
        if reason is None:
            raise
        raise checks.UserError(_no_room(folder, needed, reason, advice)) from error


@contextlib.contextmanager
def writing_blindly(path: pathlib.Path, advice: str = AGAIN) -> Iterator[None]:
    """As `writing`, for a library or a process that hides the system's error.

    If the block raises OSError and the disk of `path` takes no more, that was it.

    Args:
        path: of the file that the block writes.
        advice: what to do, at the end of the message.

    Raises:
        checks.UserError: the disk is full, over quota, read-only or gone.
    """
    folder = path.absolute().parent
    with writing(folder, advice=advice):
        try:
            yield
        except OSError as error:
            try_room(folder, advice)
            raise error


def try_room(folder: pathlib.Path, advice: str = AGAIN) -> None:
    """Refuses a folder in which `TRIED` bytes cannot be written now.

    Raises:
        checks.UserError: the disk is full, over quota, read-only or gone.
    """
    with (
        writing(folder, TRIED, advice),
        tempfile.TemporaryFile(dir=folder, buffering=0) as file,
    ):
        # What the system takes only a part of is refused the next time.
        left = TRIED
        while left:
            left -= file.write(bytes(left))
        os.fsync(file.fileno())


def disk_error(
    error: BaseException, folder: pathlib.Path, libraries: bool = False
) -> str | None:
    """The system's words if an error says that a folder takes no more, else None.

    Args:
        error: or one that it was raised from.
        folder: an error of a file elsewhere says nothing of it.
        libraries: see `writing`.
    """
    seen: BaseException | None = error
    while seen is not None:
        number = None
        if isinstance(seen, OSError) and seen.errno is not None:
            number = seen.errno if _concerns(seen, folder) else None
        elif libraries and (found := IN_TEXT.search(str(seen))):
            number = int(found[1])
        if number in DISK_ERRORS:
            return os.strerror(number)
        seen = seen.__cause__
    return None


def _is_below(error: OSError, folder: pathlib.Path) -> bool:
    """Whether an error names something in a folder, and not the folder itself."""
    if error.filename is None:
        return False
    inside = pathlib.Path(os.path.realpath(os.fsdecode(error.filename)))
    return pathlib.Path(os.path.realpath(folder)) in inside.parents


def _concerns(error: OSError, folder: pathlib.Path) -> bool:
    """Whether an error is of a file in a folder, or of one that it does not name."""
    name = error.filename
    if not isinstance(name, (str, bytes, os.PathLike)):
        # Rights are refused by name; whatever else this was is not the folder's.
        return error.errno not in (errno.EACCES, errno.EPERM)
    inside = pathlib.Path(os.path.realpath(os.fsdecode(name)))
    return inside.is_relative_to(os.path.realpath(folder))


def free_bytes(folder: pathlib.Path) -> int:
    """Free bytes of the disk that holds a folder, which need not exist yet."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return shutil.disk_usage(existing).free


def check_room(folder: pathlib.Path, needed: int, advice: str = RESUME) -> None:
    """Refuses to write `needed` bytes into a folder whose disk has fewer free.

    Raises:
        checks.UserError: before anything is written.
    """
    if free_bytes(folder) < needed:
        raise checks.UserError(
            _no_room(folder, needed, os.strerror(errno.ENOSPC), advice)
        )


def _no_room(folder: pathlib.Path, needed: int | None, reason: str, advice: str) -> str:
    try:
        free = f"{free_bytes(folder):,} bytes are free"
    except OSError:  # The disk itself is gone.
        free = "how much is free cannot be read"
    if needed is not None:
        free = f"{needed:,} bytes are needed there, {free}"
    return f"Cannot write into {str(folder)!r}: {reason}; {free}. {advice}"


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
