"""Flush names and contents to the disk, so that they survive a power cut."""

from __future__ import annotations

import contextlib
import os
import pathlib


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


def make_folder(path: pathlib.Path) -> None:
    """Creates a folder and its parents if missing, and flushes each new name.

    Raises:
        OSError: The folder cannot be created, or a file has its name.
    """
    path = path.absolute()
    missing = []
    while not path.is_dir() and path != path.parent:
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)  # Another process may be faster.
        # A folder that is writable but not readable cannot be flushed.
        with contextlib.suppress(PermissionError):
            sync(folder.parent)
