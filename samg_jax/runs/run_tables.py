"""The two tables of a run across a resume: recorded, recognized, repaired.

Each checkpoint records how long the tables were, their rows and a checksum, and keeps
a compressed copy. A table that was edited since is put back; what was found instead is
kept beside it.
"""

from __future__ import annotations

import gzip
import pathlib
import zlib
from typing import Any

from samg_jax import checks, durable, logs
from samg_jax.runs import checkpoints

NAMES = ("metrics.csv", "training.csv")


def record(
    workdir: pathlib.Path, lengths: tuple[int, int]
) -> tuple[dict[str, dict[str, int]], dict[str, bytes]]:
    """What a checkpoint keeps of the tables.

    Args:
        workdir: of the run.
        lengths: bytes of both tables, all of them on the disk.

    Returns:
        Table -> its bytes, rows and checksum; and file of the checkpoint -> content.
    """
    entries, files = {}, {}
    for name, length in zip(NAMES, lengths, strict=True):
        with (workdir / name).open("rb") as file:
            content = file.read(length)
        entries[name] = {
            "bytes": length,
            "rows": _rows(content),
            "crc32": zlib.crc32(content),
        }
        files[_copy(name)] = gzip.compress(content, 1, mtime=0)
    return entries, files


def repair(
    workdir: pathlib.Path, meta: dict[str, Any], store: checkpoints.Store
) -> None:
    """Puts back tables that are not as a checkpoint recorded them.

    Rows behind what was recorded are left to whoever opens the table.

    Args:
        workdir: of the run.
        meta: description of the checkpoint; earlier versions recorded no tables in it.
        store: of the checkpoint.

    Raises:
        checks.UserError: a table is not as recorded, and the checkpoint has no copy.
    """
    for name, entry in meta.get("tables", {}).items():
        path = workdir / name
        found = path.read_bytes() if path.exists() else None
        wrong = _wrong(found, entry)
        if wrong is None:
            continue
        content = _plain(found or b"")[: entry["bytes"]]
        if _wrong(content, entry) is None:
            logs.LOGGER.warning(
                "%s %s: another program rewrote its line ends. They are put back.",
                *(path, wrong),
            )
            _replace(path, content)
            continue
        content = _from_copy(store, name)
        if content is None or _wrong(content, entry) is not None:
            raise checks.UserError(
                f"{path} {wrong}, and the checkpoint that recorded it has no copy. "
                "It was edited or replaced since. Restore the file as the run left it, "
                "or give another workdir=FOLDER."
            )
        kept = "Nothing else was lost."
        if found is not None:
            kept = f"What was found there is kept in {_set_aside(path)}."
        logs.LOGGER.warning(
            "%s %s. It is put back as the checkpoint of step %d has it. %s",
            *(path, wrong, meta["step"], kept),
        )
        _replace(path, content)


def _wrong(found: bytes | None, entry: dict[str, int]) -> str | None:
    """What is not as recorded, in words; None if everything is."""
    if found is None:
        return "is missing"
    content = found[: entry["bytes"]]
    if len(content) < entry["bytes"]:
        return (
            f"has {len(content):,} bytes and {_rows(content):,} rows; "
            f"{entry['bytes']:,} bytes and {entry['rows']:,} rows were recorded"
        )
    if zlib.crc32(content) != entry["crc32"]:
        return f"is not as it was recorded, with {entry['rows']:,} rows"
    return None


def _plain(content: bytes) -> bytes:
    """A table without what editors add: a mark at the start, other line ends."""
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    content = content.replace(b"\r", b"\n")
    return content if content.endswith(b"\n") else content + b"\n"


def _rows(content: bytes) -> int:
    return max(content.count(b"\n") - 1, 0)


def _copy(name: str) -> str:
    return f"{name}.gz"


def _from_copy(store: checkpoints.Store, name: str) -> bytes | None:
    content = store.file(_copy(name))
    try:
        return content and gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


def _replace(path: pathlib.Path, content: bytes) -> None:
    with durable.writing(path.absolute().parent, len(content)):
        durable.write_bytes(path, content)


def keep(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Copies both tables beside themselves, before rows are cut; the copies."""
    kept = []
    for path in (workdir / name for name in NAMES):
        if path.is_file():
            aside = _free_name(path)
            _replace(aside, path.read_bytes())
            kept.append(aside)
    return kept


def _free_name(path: pathlib.Path) -> pathlib.Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.found{number}")).exists():
        number += 1
    return aside


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    aside = _free_name(path)
    with durable.writing(path.absolute().parent):
        path.rename(aside)
    return aside
