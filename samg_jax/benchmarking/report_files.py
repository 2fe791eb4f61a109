"""The files of a report, unfinished and finished."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from samg_jax import checks, durable
from samg_jax.benchmarking import benchmark_tables

OF_PROFILES = "profile.json"  # The file in the folder of the traces.


def file(kind: str, out: pathlib.Path) -> pathlib.Path:
    """The JSON file of a report.

    Args:
        kind: The kind of measurement; a profile has a folder.
        out: The path that was requested.
    """
    return out / OF_PROFILES if kind == "profile" else out


def unfinished(path: pathlib.Path) -> pathlib.Path:
    """The path of a report until it is complete."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def check(kind: str, out: pathlib.Path) -> None:
    """Refuses a path at which a report cannot be written; see `file`."""
    path = file(kind, out)
    if kind == "profile":
        checks.folder(out, "out=FOLDER")
    if path.suffix != ".json":
        raise checks.UserError(
            f"out is {str(path)!r}, which ends in {path.suffix!r}. Only .json is "
            f"allowed; a .md is written beside it. Set out={path.with_suffix('')}"
            ".json."
        )
    checks.file(path, "out", overwrite=True)


def keep(out: pathlib.Path | None, report: Mapping[str, Any]) -> None:
    """Writes a report as JSON and Markdown, each file completely or not at all.

    An unfinished report goes into separate files, which the finished report removes. A
    finished report is therefore replaced only by another finished one.

    Args:
        out: The path, as in `file`; None writes nothing.
        report: The report from `measures.run`.
    """
    if out is None:
        return
    path = file(report["kind"], out)
    partial = unfinished(path)
    place = path if report["finished"] else partial
    text = f"{benchmark_tables.describe(report)}\n"
    try:
        with durable.writing(place.absolute().parent, advice=durable.AGAIN):
            durable.write_json(place, report)
            durable.write_text(place.with_suffix(".md"), text)
    except checks.UserError:
        print(text)  # A long measurement is not lost with the disk.
        raise
    if report["finished"]:
        partial.unlink(missing_ok=True)
        partial.with_suffix(".md").unlink(missing_ok=True)


def stopped(kind: str, out: pathlib.Path | None) -> str:
    """The message after a measurement was stopped; see `file`."""
    if out is None:
        return "Interrupted. With out=FILE the rows so far would have been kept."
    return f"Interrupted. The rows so far are in {unfinished(file(kind, out))}."
