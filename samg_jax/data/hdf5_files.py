"""Opening a stranger's HDF5 file and reading arrays of it, one reason per refusal.

HDF5 answers whatever is wrong with an `OSError` or a `KeyError` of its own. Here each
cause becomes one line that names the file and the remedy. Nothing is read before its
declared size is known to fit. Nothing outside the file is opened.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Iterator, Mapping

import h5py
import numpy as np

from samg_jax import checks
from samg_jax.data import array_checks

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# How other files begin that are taken for HDF5.
OTHERS = {
    b"PK\x03\x04": "a zip or NumPy .npz archive",
    b"\x93NUMPY": "a NumPy .npy array",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    **{bytes((0x80, version)): "a Python pickle" for version in range(2, 6)},
    b"MATLAB 5": "a MATLAB file of version 5, save with -v7.3",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "an SQLite database",
    b"version https://git-lfs": "a pointer of Git LFS; `git lfs pull` fetches the file",
    b"<": "a page of HTML or XML, perhaps an error page of a download",
    b"{": "JSON",
    b"CDF\x01": "NetCDF 3",
}
# What the library raises of a damaged file, besides OSError.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)
COPY = "Copy, fetch or collect it again; keep this one until then."


def _said(error: Exception) -> str:
    """What the library says, in one line."""
    return " ".join(str(error).split())


def _damaged(what: str, error: Exception) -> checks.UserError:
    return checks.UserError(
        f"{what} cannot be read: {_said(error)}. The file is damaged there. {COPY}"
    )


def existing(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path of a file; refuses what is none, or may not be looked at."""
    given = str(path)
    prefix = f"No dataset file at {given!r}"
    try:
        path = pathlib.Path(given).expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            files = [p for p in sorted(path.iterdir()) if p.suffix in (".hdf5", ".h5")]
            inside = f", {str(files[0])!r} for example" if files else ""
            raise checks.UserError(
                f"{prefix}: it is a folder. Name an HDF5 file in it{inside}."
            )
        reason = "it is not a regular file. " if path.exists() else ""
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder.
        raise checks.UserError(
            f"{prefix}: {getattr(error, 'strerror', None) or error}. Check the path "
            "and the rights of its folders."
        ) from error
    raise checks.UserError(
        f"{prefix}. {reason.capitalize()}It must be an HDF5 file with D4RL's keys. "
        "Check the path, or leave it empty to use a D4RL name."
    )


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading; refused in one line if it cannot be."""
    path = existing(path)
    try:
        file = h5py.File(path, "r")
    except DAMAGE as error:
        raise checks.UserError(_why_not_opened(path, error)) from error
    with file:
        yield file


def _why_not_opened(path: pathlib.Path, error: Exception) -> str:
    """What is wrong with a file that HDF5 refuses to open, and what to do."""
    if isinstance(error, PermissionError):
        return (
            f"{path} may not be read: {error.strerror}. Give yourself the right, as "
            f"by chmod u+r '{path}', or copy the file."
        )
    if isinstance(error, BlockingIOError) or "unable to lock file" in str(error):
        return (
            f"{path} is locked: another process has it open for writing. Nothing is "
            "wrong with it. Wait until that process closes it, or train on a copy. On "
            "a file system without locks, set HDF5_USE_FILE_LOCKING=FALSE."
        )
    if "already open for write" in str(error):
        return (
            f"{path} is still open for writing in another process, or its writer "
            "ended without closing it. Wait, or, if nothing writes any more, clear "
            f"the mark on a copy: h5clear --status '{path}'."
        )
    size = path.stat().st_size
    broken = f"{path} cannot be read as HDF5, it is truncated or no HDF5 file"
    if not size:
        return f"{broken}: it is empty. {COPY}"
    if "truncated file" in str(error):
        return (
            f"{broken}: it has {size:,} bytes, fewer than it says "
            f"({_said(error)}). If it is still being copied, wait. {COPY}"
        )
    with path.open("rb") as file:
        start = file.read(64)
    for beginning, what in OTHERS.items():
        if start.startswith(beginning):
            return (
                f"{broken}: it looks like {what}. Name the HDF5 file, or convert this "
                "one."
            )
    if not start.startswith(SIGNATURE) and "signature not found" in str(error):
        return f"{broken}: it does not begin as one. Check the path. {COPY}"
    return (
        f"{path} cannot be read as HDF5 ({_said(error)}). It is damaged, or written by "
        f"a newer version than the installed HDF5 {h5py.version.hdf5_version}. {COPY}"
    )


def names(group: h5py.Group) -> list[str]:
    """The names in a group, sorted; refuses a damaged one."""
    try:
        return sorted(group)
    except DAMAGE as error:
        raise _damaged(group.file.filename, error) from error


def find(file: h5py.File, key: str, rank: int) -> h5py.Dataset | None:
    """The array of numbers stored under `key`, not read yet; None without one.

    Refuses links, arrays whose numbers are in other files, and wrong types and shapes.

    Args:
        file: from `opened`.
        key: name of the array.
        rank: 1 for `[T]` or `[T, 1]`, 2 for `[T, size]`.
    """
    what = f"{key!r} in {file.filename}"
    node = _node(file, key, what)
    if node is None:
        return None
    if not isinstance(node, h5py.Dataset):
        raise checks.UserError(
            f"{file.filename} has no array {key!r}: a {type(node).__name__} has that "
            f"name. Write an array of that name{_or_without(key)}."
        )
    try:
        kind = node.dtype
    except DAMAGE as error:  # NumPy has no such type.
        raise checks.UserError(
            f"{what} has a type that cannot be read ({_said(error)}); numbers are "
            "needed. Write it as float32."
        ) from error
    array_checks.check_kind(kind, what)
    array_checks.check_shape(node.shape, what, rank)
    return node


def _node(group: h5py.Group, key: str, what: str) -> h5py.Group | h5py.Dataset | None:
    """What a group holds under a key; refuses what lies elsewhere.

    Args:
        group: of an open file.
        key: name in the group.
        what: the same for messages.
    """
    try:
        link = group.get(key, getlink=True)
        if link is None:
            return None
        kind = "" if isinstance(link, h5py.HardLink) else f"a {type(link).__name__}"
        node = None if kind else group[key]
        if isinstance(node, h5py.Dataset) and node.external:
            kind = "stored in an external file"
        elif isinstance(node, h5py.Dataset) and node.is_virtual:
            kind = "a virtual dataset, of other files"
    except DAMAGE as error:
        raise _damaged(what, error) from error
    if kind:
        raise checks.UserError(
            f"{what} is {kind}. Only arrays stored in the file itself are read. Write "
            "a file that holds the numbers, by h5py or h5repack."
        )
    return node


def check_all(path: str | os.PathLike[str]) -> None:
    """Refuses a file that another library could not read, whatever is in it.

    Everything in it must lie in the file, be compressed by filters that there are, and
    fit into memory.
    """
    with opened(path) as file:
        total, unwritten, seen, groups = 0, [], set(), [file]
        while groups:
            group = groups.pop()
            for key in names(group):
                what = f"'{group.name.rstrip('/')}/{key}' in {file.filename}"
                node = _node(group, key, what)
                if isinstance(node, h5py.Dataset):
                    _check_filters(node, what)
                    unwritten += [] if _written(node, what) else [what]
                    total += (node.size or 0) * node.dtype.itemsize
                elif isinstance(node, h5py.Group):
                    address = h5py.h5o.get_info(node.id).addr
                    groups += [] if address in seen else [node]
                    seen.add(address)
        size, free = pathlib.Path(file.filename).stat().st_size, free_memory()
        if 3 * total > free:
            raise checks.UserError(
                f"{file.filename} declares arrays of {total / 1e9:,.2g} GB; the file "
                f"itself has {size:,} bytes. {3 * total / 1e9:,.2g} GB of memory are "
                f"needed to read them, and {free / 1e9:,.2g} GB are free. Use a file "
                "with fewer rows, or a machine with more memory."
            )
        if unwritten:
            raise checks.UserError(
                f"Rows of {unwritten[0]} were never written: they were only declared, "
                f"and would be read as zeros. {COPY}"
            )


def check_sizes(file: h5py.File, arrays: Mapping[str, h5py.Dataset]) -> None:
    """Refuses, before anything is read, arrays that memory or the file cannot hold.

    Args:
        file: from `opened`.
        arrays: name -> array, of right types and shapes.
    """
    rows = {key: array.shape[0] for key, array in arrays.items()}
    array_checks.check_lengths(rows, file.filename)
    elements = {key: math.prod(array.shape) for key, array in arrays.items()}
    widest = max(elements[key] * array.dtype.itemsize for key, array in arrays.items())
    # As float32, twice: rows and the transitions made of them. Read one by one.
    needed, free = 8 * sum(elements.values()) + widest, free_memory()
    size = pathlib.Path(file.filename).stat().st_size
    declared = (
        f"{file.filename} declares {rows['rewards']:,} rows, which need about "
        f"{needed / 1e9:,.2g} GB of memory to read; the file itself has {size:,} bytes"
    )
    if needed > free:
        raise checks.UserError(
            f"{declared}, and {free / 1e9:,.2g} GB are free. Use a file with fewer "
            "rows, or a machine with more memory."
        )
    for key, array in arrays.items():
        _check_filters(array, f"{key!r} in {file.filename}")
        if not _written(array, f"{key!r} in {file.filename}"):
            raise checks.UserError(
                f"{declared}. Rows of {key!r} were never written: they were only "
                "declared, and would be read as zeros. Write the rows that there are, "
                f"and no more, and zeros if zeros are meant{_or_without(key)}."
            )


def _or_without(key: str) -> str:
    """Another way out, for an array that a file may lack."""
    optional = key in ("timeouts", "next_observations")
    return f", or leave {key!r} out" if optional else ""


def _written(array: h5py.Dataset, what: str) -> bool:
    """Whether all of an array is in the file, as far as its layout says."""
    if not array.size:
        return True
    try:
        if array.chunks is None:
            return array.id.get_storage_size() > 0
        pairs = zip(array.shape, array.chunks, strict=True)
        chunks = math.prod(-(-length // chunk) for length, chunk in pairs)
        return array.id.get_num_chunks() >= chunks
    except DAMAGE as error:
        raise _damaged(what, error) from error


def read(file: h5py.File, key: str, array: h5py.Dataset) -> np.ndarray:
    """The numbers of an array as stored; one line if they cannot be had."""
    what = f"{key!r} in {file.filename}"
    _check_filters(array, what)
    try:
        return array[()]
    except DAMAGE as error:
        raise _damaged(what, error) from error


def _check_filters(array: h5py.Dataset, what: str) -> None:
    """Refuses an array compressed by a filter that the installed HDF5 does not have."""
    try:
        plist = array.id.get_create_plist()
        filters = [plist.get_filter(index) for index in range(plist.get_nfilters())]
        missing = [
            f"the HDF5 filter {number} ({name.decode(errors='replace') or 'unnamed'})"
            for number, _, _, name in filters
            if not h5py.h5z.filter_avail(number)
        ]
    except DAMAGE as error:
        raise _damaged(what, error) from error
    if missing:
        raise checks.UserError(
            f"{what} is compressed by {', '.join(missing)}, which is not installed. "
            "The file may be fine. Rewrite it where the filter is installed, h5repack "
            "-f GZIP=4 OLD NEW, or set HDF5_PLUGIN_PATH to the folder of the plugin."
        )


def free_memory() -> float:
    """Bytes of memory that this process may still take; infinity where unknown."""
    free = [math.inf]
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free.append(1024.0 * int(fields["MemAvailable"].split()[0]))
    # What a container may take in all, in both versions of control groups.
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            free.append(float(pathlib.Path("/sys/fs/cgroup", limit).read_text()))
    return min(free)
