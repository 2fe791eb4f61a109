"""The files of a job, in the folder that all jobs of a suite share.

    <out>/jobs/<algorithm>/<dataset>/<seeds>/<variant>/
        job.json      what is to be done
        claim-0.json  who does it; a later number is a later process
        run-0/        workdir of the trainer; a later process takes it over, renamed
        usage.json    time and memory so far, machine and versions
        output-0.txt  what the process printed
        failed.json   its error, until it succeeds
        complete/     the workdir when nothing is left to do; done.json in it says
                      with what it was done

All paths in them are relative but that of a dataset file: the folder can be moved.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import pathlib
import shutil
import uuid
from collections.abc import Sequence
from typing import Any

from samg_jax import checks
from samg_jax.suites import files
from samg_jax.suites.jobs import Job
from samg_jax.training import experiment, validation

JOBS = "jobs"
RUN = "run"
COMPLETE = "complete"
DONE = "done.json"
# What may differ between two commands of a suite; the rest of `experiment`'s.
FREE_FIELDS = (*experiment.FREE_FIELDS, "offline.restore")


def of(out: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder of a job."""
    return out / JOBS / name


def prepare(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Writes down what is to be done, as this command has it.

    Its own values replace those of a folder that came from elsewhere, also of fields
    that may differ: jobs run what the user's command says.

    Raises:
        ValueError: where the folder holds a job of that name and another config.
    """
    check(out, jobs)
    for job in jobs:
        path, content = of(out, job.name) / "job.json", dataclasses.asdict(job)
        if files.read_json(path) != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, content)


def check(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Raises ValueError where a job of that name was begun with another config."""
    for job in jobs:
        found = files.read_json(of(out, job.name) / "job.json")
        if found is None:
            continue
        before = validation.flatten(found["config"])
        after = validation.flatten(job.config)
        different = [
            f"  {name}: {before.get(name)!r} before, {after.get(name)!r} now"
            for name in sorted(before | after)
            if before.get(name) != after.get(name) and name not in FREE_FIELDS
        ]
        if different:
            raise checks.UserError(
                f"{str(out)!r} holds the job {job.name} with another config:\n"
                + "\n".join(different)
                + "\nA suite goes on in its folder with the same values. Give another "
                "folder with --out, or the same values."
            )


def load(out: pathlib.Path, name: str) -> Job:
    """Returns a job that was prepared."""
    return Job(**json.loads((of(out, name) / "job.json").read_text()))


def all_jobs(out: pathlib.Path) -> list[Job]:
    """Returns every job that the folder holds, by name."""
    paths = sorted((out / JOBS).glob("*/*/*/*/job.json"))
    return [Job(**json.loads(path.read_text())) for path in paths]


def done(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns what `done.json` says, None while the job is not complete."""
    return files.read_json(folder / COMPLETE / DONE)


def finished_run(folder: pathlib.Path) -> pathlib.Path:
    """Returns the workdir of a job that is complete."""
    return folder / COMPLETE


def take_over(folder: pathlib.Path, number: int) -> pathlib.Path | None:
    """Returns the workdir of the process with this number, with what was done before.

    A process that was thought dead and is not can do no harm: the folder's name that
    it knows is gone, and the tables that it holds open are other files from here on.

    Returns:
        None where nothing is left to do for this process: the job is complete, or a
        later process has it.
    """
    run = folder / f"{RUN}-{number}"
    while True:
        before = files.latest(folder, RUN)
        # In this order: what is complete was a run before.
        if (folder / COMPLETE).exists() or (before is not None and before > number):
            return None
        if before is None:
            run.mkdir()
            return run
        try:
            (folder / f"{RUN}-{before}").rename(run)
        except FileNotFoundError:  # It has another name since.
            continue
        break
    for path in run.iterdir():
        if path.is_file():
            copy = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            shutil.copyfile(path, copy)
            copy.replace(path)
    return run


def complete(folder: pathlib.Path, run: pathlib.Path, facts: dict[str, Any]) -> bool:
    """Makes a run the job's complete one; returns whether it is.

    It is not where the run was taken over, or the job is complete, be it since a
    moment: the last step is one renaming, which then fails and changes nothing. What
    is complete never moves again.

    Args:
        folder: of the job.
        run: workdir of the process, in the folder.
        facts: what `done` returns from then on.
    """
    try:
        files.write_json(run / DONE, facts)
        run.rename(folder / COMPLETE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def record_failure(folder: pathlib.Path, error: str, details: str) -> None:
    """Writes down why a job failed, unless another process has completed it.

    Args:
        folder: of the job.
        error: in a line or two.
        details: traceback, or the end of what was printed.
    """
    path = folder / "failed.json"
    job = "/".join(folder.parts[-4:])
    files.write_json(path, {"job": job, "error": error, "details": details})
    if done(folder):  # Looked at last: whoever completes it removes what is there then.
        path.unlink(missing_ok=True)
