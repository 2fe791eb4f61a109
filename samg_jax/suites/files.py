"""Files that many processes share: whole or not there, and numbered.

Every file is written under another name and renamed, so that nobody reads half of one.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import uuid
from typing import Any


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes a file, whole or not at all, whoever else writes it."""
    replace(path, (json.dumps(content, indent=1) + "\n").encode())


def replace(path: pathlib.Path, content: bytes) -> None:
    """Replaces a file, or creates it, in one step."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: pathlib.Path) -> Any:
    """Returns what a file holds, None where there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def latest(folder: pathlib.Path, kind: str) -> int | None:
    """Returns the highest number of the claims or runs in a folder."""
    pattern = re.compile(rf"{kind}-(\d+)(\.json)?")
    matches = (pattern.fullmatch(path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in matches if match), default=None)
