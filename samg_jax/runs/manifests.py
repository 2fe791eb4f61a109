"""The list of a checkpoint's files, by which damage of any kind is found.

`files.json` holds the size and the checksum of every other file of the checkpoint. A
checkpoint that an earlier version wrote has none; nothing is known of its files then.
"""

from __future__ import annotations

import json
import pathlib
import zlib

NAME = "files.json"
CHUNK = 1 << 22


def write(folder: pathlib.Path) -> None:
    """Writes the manifest of what is in a folder now."""
    entries = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "crc32": checksum(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    # Whoever calls flushes the whole folder afterward.
    (folder / NAME).write_text(json.dumps(entries, indent=1) + "\n")


def exists(folder: pathlib.Path) -> bool:
    """Whether the checkpoint has a manifest."""
    return (folder / NAME).exists()


def damage(folder: pathlib.Path) -> str | None:
    """What differs from the manifest, in words; None if nothing does."""
    try:
        entries = json.loads((folder / NAME).read_text())
        wanted = {
            name: (int(entry["bytes"]), int(entry["crc32"]))
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, IsADirectoryError):
        return f"{NAME} is not the list of files that it was"
    for name, (size, crc) in wanted.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
        if checksum(path) != crc:
            return f"{name} is not as it was written"
    return None


def checksum(path: pathlib.Path) -> int:
    """CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
