"""Files that survive a power cut: written aside, flushed, then renamed.

A file that a resume needs appears under its name completely or not at all. `os.replace`
alone does not guarantee that: after a power cut, the new name may exist before its
content does. The content is therefore flushed to the disk first, and the folder last.

A disk that accepts no more data is the user's to fix: `writing` and `check_room` report
it in one line that names the folder.
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

# Errors of a folder that accepts no more data: full, over quota, read-only, no longer
# the user's, or on a device or network that is gone.
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
TRIED = 1 << 18  # Bytes of a trial write, enough to notice a full disk.
FLUSHES = 16  # Concurrent flushes share a commit of the file system's journal.
# The system's error number in the error messages of TensorStore and HDF5.
IN_TEXT = re.compile(r"(?:os_error_code='|OS error |errno = )(\d+)")
# Advice at the end of the message.
RESUME = (
    "What was saved before is intact. Make room, or make the disk writable; then the "
    "same command goes on from the last checkpoint."
)
AGAIN = (
    "Make room, make the disk writable, or name another place; then run the same "
    "command again."
)

sync, make_folder = flushing.sync, flushing.make_folder


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file by `data`, completely or not at all, even across a power cut.

    If writing fails, for example on a full disk, the temporary file is removed and
    the previous file stays.
    """
    # The name contains the process's id, because two processes may write the same file.
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
    """Indented JSON, as written by `write_json`."""
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """The object that a file holds; None if there is no file with one.

    A disk that cannot be read now is an error still: the file may be there and whole.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):  # Empty, cut, or something else.
        return None
    return content if isinstance(content, dict) else None


def sync_folder(folder: pathlib.Path) -> None:
    """Flushes the names in a folder after files were created, renamed or deleted."""
    sync(folder)


def sync_tree(folder: pathlib.Path) -> None:
    """Flushes every file and folder below `folder`, then `folder` and its name."""
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
    """Replaces an output file of a program; see `write_bytes`.

    Raises:
        checks.UserError: The disk accepts no more data.
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
    """Turns errors of a disk that accepts no more data into a `UserError`.

    The block should only write, not compute.

    Args:
        folder: The folder to write into.
        needed: The number of bytes that the block writes, if known.
        advice: What to do, at the end of the message.
        libraries: Whether TensorStore or HDF5 write in the block; their errors contain
            the system's error only as text.

    Raises:
        checks.UserError: The disk is full, over quota, read-only or gone.
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

    If the block raises OSError, a trial write decides whether the disk is the cause.

    Args:
        path: The file that the block writes.
        advice: What to do, at the end of the message.

    Raises:
        checks.UserError: The disk is full, over quota, read-only or gone.
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
    """Refuses a folder that does not accept `TRIED` more bytes.

    Raises:
        checks.UserError: The disk is full, over quota, read-only or gone.
    """
    with (
        writing(folder, TRIED, advice),
        tempfile.TemporaryFile(dir=folder, buffering=0) as file,
    ):
        # A write that the system accepts only in part fails when it is continued.
        left = TRIED
        while left:
            left -= file.write(bytes(left))
        os.fsync(file.fileno())


def disk_error(
    error: BaseException, folder: pathlib.Path, libraries: bool = False
) -> str | None:
    """The system's message if an error says that a folder is not writable, else None.

    Args:
        error: The error; the errors that it was raised from are searched as well.
        folder: The folder; errors of files elsewhere do not count.
        libraries: Whether to search the text of libraries' errors; see `writing`.
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
    """Whether an error concerns a file in a folder, or does not name its file."""
    name = error.filename
    if not isinstance(name, (str, bytes, os.PathLike)):
        # Permission errors name the file; one without a name has another cause.
        return error.errno not in (errno.EACCES, errno.EPERM)
    inside = pathlib.Path(os.path.realpath(os.fsdecode(name)))
    return inside.is_relative_to(os.path.realpath(folder))


def free_bytes(folder: pathlib.Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return shutil.disk_usage(existing).free


def check_room(folder: pathlib.Path, needed: int, advice: str = RESUME) -> None:
    """Refuses to write `needed` bytes into a folder with fewer bytes free.

    Raises:
        checks.UserError: The disk has too little room; nothing was written.
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
    """Whether two paths, which need not exist yet, are on one file system."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(path: pathlib.Path) -> pathlib.Path:
    """The path itself, or its nearest parent folder that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def short_name(name: str, longest: int = 120) -> str:
    """A name of limited length: a long one is cut and ends with its hash.

    Args:
        name: The name of a file, without any prefix or suffix added to it.
        longest: The limit in bytes; file systems allow 255 for the full name.
    """
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= longest:
        return name
    mark = "-" + hashlib.sha256(data).hexdigest()[:8]
    return data[: longest - len(mark)].decode("utf-8", "ignore") + mark
