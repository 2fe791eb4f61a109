"""What is damaged in the folder of a job costs that job's time, not the suite's.

A file that cannot be used, or a folder in its place, is set aside under another name.
What the job says is written anew from the suite's command; a complete job whose facts
are lost is opened again, and its trainer, which finds nothing left to do, states them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from samg_jax import durable
from samg_jax.suites import claims, files, folders
from samg_jax.suites.jobs import Job


def prepare(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Makes the folder of every job one that can be worked in.

    Raises:
        checks.UserError: the folder holds a job of that name and another config.
    """
    folders.check(out, jobs)
    durable.make_folder(out)
    for job in jobs:
        folder = folders.of(out, job.name)
        files.make_folder(out, folder)
        path = folder / folders.JOB
        if files.exists(path) and folders.read_job(path) is None:
            files.set_aside(path)
        # Fields that may differ are this command's, also in a folder from elsewhere.
        content = dataclasses.asdict(job)
        if files.read_json(path) != content:
            files.write_json(path, content)
        mend(folder)


def mend(folder: pathlib.Path) -> None:
    """Sets aside what is damaged in the folder of a job."""
    for name in (folders.FAILED, folders.USAGE):
        path = folder / name
        if files.exists(path) and files.read_json(path) is None:
            files.set_aside(path)
    complete = folder / folders.COMPLETE
    runs = [path for path in folder.glob(f"{folders.RUN}-*") if path.suffix == ""]
    for path in (complete, *runs):
        if files.exists(path) and not path.is_dir():
            files.set_aside(path)
    if complete.is_dir() and not folders.sound(folders.done(folder)):
        _open_again(folder)


def _open_again(folder: pathlib.Path) -> None:
    """Makes a complete run one that the next process takes over."""
    complete = folder / folders.COMPLETE
    if files.exists(complete / folders.DONE):
        files.set_aside(complete / folders.DONE)
    run, claim = files.latest(folder, folders.RUN), files.latest(folder, claims.CLAIM)
    number = run + 1 if run is not None else claim or 0
    try:
        complete.rename(folder / f"{folders.RUN}-{number}")
    except FileNotFoundError:  # Another process was faster.
        return
    durable.sync_folder(folder)
