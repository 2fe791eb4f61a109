"""What is damaged in the folder of a job costs that job's time, not the suite's.

A file that cannot be used, or a folder in its place, is set aside under another name.
What the job says is written anew from the suite's command; a complete job whose facts
are lost is opened again, and its trainer, which finds nothing left to do, states them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from samg_jax import durable, shared_files
from samg_jax.runs import run_tables
from samg_jax.suites import claims, job_folders
from samg_jax.suites.job_list import Job


def prepare(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Makes the folder of every job one that can be worked in.

    Raises:
        checks.UserError: the folder holds a job of that name and another config.
    """
    job_folders.check(out, jobs)
    durable.make_folder(out)
    for job in jobs:
        folder = job_folders.of(out, job.name)
        shared_files.make_folder(out, folder)
        path = folder / job_folders.JOB
        if shared_files.exists(path) and job_folders.read_job(path) is None:
            shared_files.set_aside(path)
        # Fields that may differ are this command's, also in a folder from elsewhere.
        content = dataclasses.asdict(job)
        if shared_files.read_json(path) != content:
            shared_files.write_json(path, content)
        mend(folder)


def mend(folder: pathlib.Path) -> None:
    """Sets aside what is damaged in the folder of a job."""
    for name in (job_folders.FAILED, job_folders.USAGE):
        path = folder / name
        if shared_files.exists(path) and shared_files.read_json(path) is None:
            shared_files.set_aside(path)
    complete = folder / job_folders.COMPLETE
    runs = [path for path in folder.glob(f"{job_folders.RUN}-*") if path.suffix == ""]
    for path in (complete, *runs):
        if shared_files.exists(path) and not path.is_dir():
            shared_files.set_aside(path)
    if not complete.is_dir():
        return
    # The tables are put back from the checkpoint, by the process that takes it over.
    lost = [name for name in run_tables.NAMES if not (complete / name).is_file()]
    if lost:
        print(f"{complete} has lost {' and '.join(lost)}; its job is opened again.")
    if lost or not job_folders.sound(job_folders.done(folder)):
        _open_again(folder)


def _open_again(folder: pathlib.Path) -> None:
    """Makes a complete run one that the next process takes over."""
    complete = folder / job_folders.COMPLETE
    if shared_files.exists(complete / job_folders.DONE):
        shared_files.set_aside(complete / job_folders.DONE)
    run, claim = (
        shared_files.latest(folder, job_folders.RUN),
        shared_files.latest(folder, claims.CLAIM),
    )
    number = run + 1 if run is not None else claim or 0
    try:
        complete.rename(folder / f"{job_folders.RUN}-{number}")
    except FileNotFoundError:  # Another process was faster.
        return
    durable.sync_folder(folder)
