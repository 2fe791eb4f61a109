"""The files of a suite's jobs; one atomic rename says that a job is complete.

    <out>/.lock         held by the one command that works in the folder
    <out>/jobs/<algorithm>/<dataset>/<seeds>/<variant>/
        job.json      what is to be done
        run/          the workdir of the trainer
        usage.json    time and memory so far, machine and versions
        output.txt    what the job's processes printed on this machine
        failed.json   its error, until it succeeds
        complete/     the workdir once nothing is left to do; done.json in it says with
                      what it was done

All paths in them are relative, except the path of a dataset file: the folder can be
moved. A damaged file costs its own job's time and no other's: it is set aside, and
written again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import fcntl
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from samg_jax import checks, durable
from samg_jax.experiment import setting_values
from samg_jax.runs import run_tables, saved_configs
from samg_jax.suites.job_list import Job

JOBS = "jobs"
RUN, COMPLETE = "run", "complete"
DONE, OUTPUT, LOCK = "done.json", "output.txt", ".lock"
JOB, FAILED, USAGE = "job.json", "failed.json", "usage.json"
# What `done.json` holds of every job, and of its machine.
FACTS: dict[str, Any] = dict.fromkeys(("data_source", "physics"), str)
FACTS |= dict.fromkeys(("wall_time", "peak_memory"), (int, float))
MACHINE = ("processor", "devices", "commit")
NAMES = ("name", "algorithm", "variant", "dataset")
JOB_FIELDS: dict[str, Any] = dict.fromkeys(NAMES, str)
JOB_FIELDS |= {"source": (str, type(None)), "config": dict}
# What may differ between two commands of a suite, besides `saved_configs.may_differ`.
FREE_FIELDS = ("offline.restore",)


class Status(enum.Enum):
    """The state of a job after it was tried."""

    DONE = "done"
    FAILED = "failed"
    WAITING = "waiting"  # Not begun: its source is not complete.
    KILLED = "killed"  # The process is gone; the job may be tried again.


def of(out: pathlib.Path, name: str) -> pathlib.Path:
    """The folder of a job."""
    return out / JOBS / name


def done(folder: pathlib.Path) -> dict[str, Any] | None:
    """The facts in `done.json`; None if the job is not complete, or one is missing."""
    facts = durable.read_json(folder / COMPLETE / DONE) or {}
    machine = facts.get("machine")
    sound = isinstance(machine, dict) and _has(facts, FACTS)
    return facts if sound and _has(machine, dict.fromkeys(MACHINE, str)) else None


def _has(content: dict[str, Any], kinds: dict[str, Any]) -> bool:
    """Whether all of these fields are there, of these kinds."""
    return all(isinstance(content.get(name, ...), kinds[name]) for name in kinds)


def is_done(out: pathlib.Path, name: str) -> bool:
    """Whether a job is complete."""
    return done(of(out, name)) is not None


def workdir(folder: pathlib.Path) -> pathlib.Path:
    """The workdir of a job that is not complete; earlier versions numbered it."""
    for path in folder.glob(f"{RUN}-*"):
        if path.name.removeprefix(f"{RUN}-").isdigit():
            return path
    return folder / RUN


def complete(folder: pathlib.Path, run: pathlib.Path, facts: dict[str, Any]) -> None:
    """Makes a run the complete one of its job, in one rename.

    Args:
        folder: The folder of the job.
        run: Its workdir.
        facts: What `done` returns from then on.
    """
    durable.write_json(run / DONE, facts)
    durable.sync_tree(run)
    run.rename(folder / COMPLETE)
    durable.sync_folder(folder)
    (folder / FAILED).unlink(missing_ok=True)


def failure(folder: pathlib.Path) -> str:
    """The error of a job that failed, in a line or two."""
    found = durable.read_json(folder / FAILED) or {}
    return str(found.get("error", f"unknown; see {OUTPUT} in {folder}"))


def record_failure(folder: pathlib.Path, error: str, details: str = "") -> None:
    """Writes down why a job failed.

    Args:
        folder: The folder of the job.
        error: The reason, in a line or two.
        details: A traceback, or the end of what was printed.
    """
    job = "/".join(folder.parts[-4:])
    content = {"job": job, "error": error, "details": details}
    with durable.writing(folder):
        durable.write_json(folder / FAILED, content)


@contextlib.contextmanager
def locked(folder: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Keeps other processes out of a folder, inside the block.

    The system releases the lock with the process, however that ends.

    Args:
        folder: The folder of a suite, or of a job.
        wait: Whether to wait for another process, for example one that was orphaned.

    Raises:
        checks.UserError: another process has the folder, and `wait` is False.
    """
    with durable.writing(folder):
        file = (folder / LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise checks.UserError(
                f"Another command works on the suite in {str(folder)!r}; one at a time "
                "is allowed. Wait for it, stop it, or set out=FOLDER. For several "
                "machines use executor=ray or executor=slurm."
            ) from error
        yield


def read_job(path: pathlib.Path) -> Job | None:
    """The job of a file; None if it cannot be read, or lies in another's folder."""
    content = durable.read_json(path) or {}
    if set(content) != set(JOB_FIELDS) or not _has(content, JOB_FIELDS):
        return None
    parts = pathlib.PurePath(content["name"]).parts
    return (
        Job(**content) if parts and path.parent.parts[-len(parts) :] == parts else None
    )


def load(out: pathlib.Path, name: str) -> Job:
    """A job that was prepared."""
    path = of(out, name) / JOB
    job = read_job(path)
    if job is None:
        raise checks.UserError(
            f"{path} is missing or damaged; it says what the job is. Start the "
            "suite's command again, which writes the file again."
        )
    return job


def all_jobs(
    out: pathlib.Path, damaged: Callable[[pathlib.Path], None] = lambda path: None
) -> list[Job]:
    """Every job in the folder of a suite, by name.

    Args:
        out: The folder of the suite.
        damaged: Receives each file that holds no job.
    """
    paths = sorted((out / JOBS).glob(f"*/*/*/*/{JOB}"))
    found = {path: read_job(path) for path in paths}
    for path in [path for path, job in found.items() if job is None]:
        damaged(path)
    return [job for job in found.values() if job is not None]


def check(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Raises UserError if a job of that name was begun with another config."""
    for job in jobs:
        found = _config(of(out, job.name))
        if found is None:
            continue
        before = setting_values.flatten(found)
        after = setting_values.flatten(job.config)
        different = [
            f"  {name}: {before.get(name)!r} before, {after.get(name)!r} now"
            for name in sorted(before | after)
            if before.get(name) != after.get(name)
            and name not in FREE_FIELDS
            and not saved_configs.may_differ(name, before, after)
        ]
        if different:
            raise checks.UserError(
                f"{str(out)!r} holds the job {job.name} with another config:\n"
                + "\n".join(different)
                + "\nA suite continues in its folder with the same values. Set another "
                "folder with out=FOLDER, or the same values."
            )


def _config(folder: pathlib.Path) -> dict[str, Any] | None:
    """The config that a job was begun with; None if it is unknown."""
    job = read_job(folder / JOB)
    if job is not None:
        return job.config
    runs = (folder / COMPLETE, workdir(folder))
    found = (durable.read_json(run / "config.json") for run in runs)
    return next((config for config in found if config is not None), None)


def prepare(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Makes the folder of every job one that a process can work in.

    Raises:
        checks.UserError: the folder holds a job of that name and another config.
    """
    check(out, jobs)
    for job in jobs:
        folder = of(out, job.name)
        _make_folder(out, folder)
        _mend(folder)
        # Fields that may differ are this command's, also in a folder from elsewhere.
        content = dataclasses.asdict(job)
        if durable.read_json(folder / JOB) != content:
            durable.write_json(folder / JOB, content)


def _make_folder(out: pathlib.Path, folder: pathlib.Path) -> None:
    """Creates a folder below `out`; a file in its place is set aside."""
    parents = [path for path in folder.parents if path.is_relative_to(out)]
    for path in (*reversed(parents), folder):
        if not path.is_dir():
            _set_aside(path)
            durable.make_folder(path)


def _mend(folder: pathlib.Path) -> None:
    """Sets aside what is damaged in the folder of a job.

    A complete job whose facts are lost is opened again: its trainer finds nothing left
    to do, and states them.
    """
    if read_job(folder / JOB) is None:
        _set_aside(folder / JOB)
    for name in (FAILED, USAGE):
        if durable.read_json(folder / name) is None:
            _set_aside(folder / name)
    finished, run = folder / COMPLETE, workdir(folder)
    for path in (finished, run):
        if not path.is_dir():
            _set_aside(path)
    lost = [name for name in run_tables.NAMES if not (finished / name).is_file()]
    if finished.is_dir() and lost:  # The trainer puts them back from its checkpoint.
        print(f"{finished} has lost {' and '.join(lost)}; its job is opened again.")
    if finished.is_dir() and (lost or done(folder) is None):
        _set_aside(finished / DONE)
        _set_aside(run)
        finished.rename(run)
        durable.sync_folder(folder)


def _set_aside(path: pathlib.Path) -> None:
    """Renames what is damaged, if it is there: nothing of the user's is deleted."""
    if not os.path.lexists(path):
        return
    number = 0
    while os.path.lexists(kept := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(kept)
    durable.sync_folder(path.parent)
    print(f"{path} was damaged; it is kept as {kept.name}.", flush=True)
