"""What a report is made of: the results of suites and of workdirs, as one table."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from samg_jax.results import run_setups, tidy_table, workdirs

NAMED = 3  # A title names this many folders.


class Results(NamedTuple):
    """Results, and what is known of how they were made.

    Attributes:
        frame: The rows, from `tidy_table.check`.
        setups: The configs of the rows.
        note: The origin of the configs, and separate pre-trainings, if any.
        title: The names of the folders.
        origin: The newest file that was read, and its date.
    """

    frame: pd.DataFrame
    setups: run_setups.Setups
    note: str
    title: str
    origin: str


def is_suite(folder: pathlib.Path) -> bool:
    """Whether a folder is that of a suite, or has the table of one."""
    return bool(tidy_table.files(folder)) or (folder / run_setups.JOBS).is_dir()


def newest(folders: Sequence[pathlib.Path]) -> tuple[float, pathlib.Path] | None:
    """The time and the path of the newest table in the folders, if there is one."""
    paths = [path for folder in folders for path in tidy_table.files(folder)[:1]]
    paths += [folder / "metrics.csv" for folder in folders]
    return max(((p.stat().st_mtime, p) for p in paths if p.is_file()), default=None)


def read(folders: Sequence[pathlib.Path]) -> Results:
    """Read the results of suites and of finished runs.

    Args:
        folders: The folders of suites, and workdirs of runs.

    Raises:
        checks.UserError: There is nothing to report, or not together.
    """
    suites = [folder for folder in folders if is_suite(folder)]
    runs = [folder for folder in folders if folder not in suites]
    frames = [tidy_table.read(folder) for folder in suites]
    setups, notes = {}, []
    for folder in suites:
        setups |= run_setups.read(folder)
        notes.append(run_setups.note(folder))
    if runs:
        frame, found, note = workdirs.read(runs)
        frames.append(tidy_table.check(frame, "The table of these runs"))
        setups |= found
        notes.append(note)
    frame = frames[0]
    if len(frames) > 1:
        together = "The table of these results"
        frame = tidy_table.check(pd.concat(frames, ignore_index=True), together)
    names = [folder.resolve().name for folder in folders]
    title = ", ".join(names[:NAMED])
    if len(names) > NAMED:
        title += f" and {len(names) - NAMED} more"
    time, path = newest(folders)
    date = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return Results(
        frame=run_setups.add(frame, setups),
        setups=setups,
        note=" ".join(filter(None, notes)),
        title=f"samg_jax: {title}",
        origin=f"{path.name} of {date:%Y-%m-%d %H:%M} UTC",
    )
