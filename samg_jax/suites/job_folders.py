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

import errno
import pathlib
import shutil
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from samg_jax import checks, durable, shared_files
from samg_jax.experiment import config_checks
from samg_jax.runs import saved_configs
from samg_jax.suites.job_list import Job

JOBS = "jobs"
RUN = "run"
COMPLETE = "complete"
DONE = "done.json"
JOB, FAILED, USAGE = "job.json", "failed.json", "usage.json"
# What `done.json` holds of every job, and what of its machine.
FACTS = {
    "data_source": str,
    "physics": str,
    "wall_time": (int, float),
    "peak_memory": (int, float),
}
JOB_FIELDS = {
    "name": str,
    "algorithm": str,
    "variant": str,
    "dataset": str,
    "source": (str, type(None)),
    "config": dict,
}
MACHINE = ("processor", "devices", "commit")
# What may differ between two commands of a suite, besides `saved_configs.may_differ`.
FREE_FIELDS = ("offline.restore",)


def of(out: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder of a job."""
    return out / JOBS / name


def check(out: pathlib.Path, jobs: Sequence[Job]) -> None:
    """Raises UserError where a job of that name was begun with another config."""
    for job in jobs:
        found = _config(of(out, job.name))
        if found is None:
            continue
        before = config_checks.flatten(found)
        after = config_checks.flatten(job.config)
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
                + "\nA suite goes on in its folder with the same values. Give another "
                "folder with out=FOLDER, or the same values."
            )


def _config(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns the config that a job was begun with; None where none is known."""
    job = read_job(folder / JOB)
    if job is not None:
        return job.config
    for run in (folder / COMPLETE, *sorted(folder.glob(f"{RUN}-*"), reverse=True)):
        found = shared_files.read_json(run / "config.json")
        if found is not None:
            return found
    return None


def read_job(path: pathlib.Path) -> Job | None:
    """Returns the job of a file, None where there is none that can be read."""
    content = shared_files.read_json(path)
    if content is None or set(content) != set(JOB_FIELDS):
        return None
    fits = all(isinstance(content[name], kind) for name, kind in JOB_FIELDS.items())
    # Who reads it found it below the folder that it names.
    parts = pathlib.PurePath(content["name"]).parts if fits else ()
    named = parts and path.parent.parts[-len(parts) :] == parts
    return Job(**content) if named else None


def load(out: pathlib.Path, name: str) -> Job:
    """Returns a job that was prepared."""
    path = of(out, name) / JOB
    job = read_job(path)
    if job is None:
        raise checks.UserError(
            f"{path} is missing or damaged; it says what the job is. Give the suite's "
            "command again, which rewrites it."
        )
    return job


def all_jobs(
    out: pathlib.Path, damaged: Callable[[pathlib.Path], None] = lambda path: None
) -> list[Job]:
    """Returns every job that the folder holds, by name.

    Args:
        out: folder of the suite.
        damaged: is called with what says no job.
    """
    result = []
    for path in sorted((out / JOBS).glob(f"*/*/*/*/{JOB}")):
        job = read_job(path)
        if job is None:
            damaged(path)
        else:
            result.append(job)
    return result


def done(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns what `done.json` says, None while the job is not complete."""
    return shared_files.read_json(folder / COMPLETE / DONE)


def sound(facts: dict[str, Any] | None) -> bool:
    """Returns whether these are all the facts of a complete job."""
    if facts is None:
        return False
    about = facts.get("machine")
    return (
        all(isinstance(facts.get(name), kind) for name, kind in FACTS.items())
        and isinstance(about, dict)
        and all(isinstance(about.get(name), str) for name in MACHINE)
    )


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
        before = shared_files.latest(folder, RUN)
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
            durable.sync(copy)
            copy.replace(path)
    durable.sync_folder(run)
    durable.sync_folder(folder)
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
        shared_files.write_json(run / DONE, facts)
        durable.sync_tree(run)
        run.rename(folder / COMPLETE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    durable.sync_folder(folder)
    return True


def failure(folder: pathlib.Path) -> str:
    """Returns why a job failed, in a line or two."""
    found = shared_files.read_json(folder / FAILED) or {}
    return str(found.get("error", f"unknown; see output-*.txt in {folder}"))


def record_failure(folder: pathlib.Path, error: str, details: str) -> None:
    """Writes down why a job failed, unless another process has completed it.

    Args:
        folder: of the job.
        error: in a line or two.
        details: traceback, or the end of what was printed.
    """
    path = folder / FAILED
    if path.is_dir():
        shared_files.set_aside(path)
    job = "/".join(folder.parts[-4:])
    shared_files.write_json(path, {"job": job, "error": error, "details": details})
    if (
        done(folder) is not None
    ):  # Looked at last: whoever completes it removes what is there then.
        path.unlink(missing_ok=True)
