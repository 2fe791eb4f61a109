"""Files that many processes share: whole or not there, and numbered.

Every file is written under another name, flushed and renamed, so that nobody reads half
of one, and none is lost in a power cut. What is damaged nevertheless reads as missing.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import uuid
from typing import Any

from samg_jax import durable


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a file, whole or not at all, whoever else writes it."""
    replace(path, (json.dumps(content, indent=1) + "\n").encode())


def replace(path: pathlib.Path, content: bytes) -> None:
    """Replaces a file, or creates it, in one step."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_flushed(temporary, content)
        durable.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


def write_flushed(path: pathlib.Path, content: bytes) -> None:
    """Writes a file of a name that nobody reads yet, and flushes it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns the object that a file holds, None where there is no file with one.

    A disk that cannot be read now is an error still: the file may be there and whole.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):  # Empty, cut, or something else.
        return None
    return content if isinstance(content, dict) else None


def latest(folder: pathlib.Path, kind: str) -> int | None:
    """Returns the highest number of the claims or runs in a folder."""
    pattern = re.compile(rf"{kind}-(\d+)(\.json)?")
    matches = (pattern.fullmatch(path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in matches if match), default=None)


def make_folder(out: pathlib.Path, folder: pathlib.Path) -> None:
    """Creates a folder below `out`, its name flushed with those above it.

    A file in its place, or in that of one above it, is set aside.
    """
    steps = folder.relative_to(out).parts
    for place in (out.joinpath(*steps[: n + 1]) for n in range(len(steps))):
        if place.is_dir():
            continue
        if exists(place):
            set_aside(place)
        place.mkdir(exist_ok=True)
        durable.sync_folder(place.parent)


def exists(path: pathlib.Path) -> bool:
    """Whether anything has this name; a link that leads nowhere counts."""
    return os.path.lexists(path)


def set_aside(path: pathlib.Path) -> None:
    """Renames what is damaged, and says so: nothing of the user's is deleted."""
    number = 0
    while exists(kept := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    try:
        path.rename(kept)
    except FileNotFoundError:  # Another process was faster.
        return
    durable.sync_folder(path.parent)
    print(f"{path} was damaged; it is kept as {kept.name}.", flush=True)
