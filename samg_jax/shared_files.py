"""Files that many processes share: complete or absent, and numbered.

Every file is written under a temporary name, flushed and renamed. Readers never see a
partial file, and a power cut loses none. A damaged file reads as missing.
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
    """Writes a file completely or not at all, even if others write it too."""
    replace(path, (json.dumps(content, indent=1) + "\n").encode())


def replace(path: pathlib.Path, content: bytes) -> None:
    """Replaces or creates a file in one atomic step."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_flushed(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


def write_flushed(path: pathlib.Path, content: bytes) -> None:
    """Writes a file under a name that nobody reads yet, and flushes it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no such file or no object in it.

    A read error still raises: the file may exist and be intact.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):  # It is empty, cut off, or not JSON.
        return None
    return content if isinstance(content, dict) else None


def latest(folder: pathlib.Path, kind: str) -> int | None:
    """The highest number among the files or folders `kind-NUMBER` in a folder."""
    pattern = re.compile(rf"{kind}-(\d+)(\.json)?")
    matches = (pattern.fullmatch(path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in matches if match), default=None)


def make_folder(out: pathlib.Path, folder: pathlib.Path) -> None:
    """Creates a folder below `out` and flushes its name and its parents' names.

    A file that has the name of one of these folders is set aside.
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
    """Renames a damaged file and says so: nothing of the user's is deleted."""
    number = 0
    while exists(kept := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    try:
        path.rename(kept)
    except FileNotFoundError:  # Another process has renamed it.
        return
    durable.sync_folder(path.parent)
    print(f"{path} was damaged; it is kept as {kept.name}.", flush=True)
