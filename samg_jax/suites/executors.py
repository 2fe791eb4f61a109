"""Where the jobs of a suite run: executors by name.

An executor has a method `run`, which takes `Work` and returns when all jobs have ended.
It runs `job_worker.work` somewhere, each job when its source is complete. If the source
has failed, it calls `ended` with `Status.WAITING`. Whatever ends `run` early also stops
the jobs.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from samg_jax import checks
from samg_jax.experiment import suite_files
from samg_jax.suites import job_folders
from samg_jax.suites.job_folders import Status
from samg_jax.suites.job_list import Job

PAUSE = 0.2  # Seconds between two looks at the running jobs.


class Work(NamedTuple):
    """What an executor is given.

    Attributes:
        out: The folder of the suite, the only thing that jobs share.
        jobs: The jobs that are not complete, each behind the one that it forks from.
        retries: How often a job is started again whose process was killed.
        paths: Folders where jobs look for modules, besides this package's.
        memory: Gives the bytes on the host that a job needs.
        ended: Is called in this process when a job has ended.
    """

    out: pathlib.Path
    jobs: Sequence[Job]
    retries: int
    paths: Sequence[str]
    memory: Callable[[Job], float]
    ended: Callable[[Job, Status], None]


# Name -> module of this package with a class `Executor`, and the package that it needs;
# the extra is called as the executor.
KINDS = {
    "local": ("local", None),
    "ray": ("ray_cluster", "ray"),
    "slurm": ("slurm", "submitit"),
}


def make(name: str, texts: Sequence[str], processes: int | None = None) -> Any:
    """An executor.

    Args:
        name: One of `KINDS`.
        texts: Its options, such as `cpus=2`.
        processes: Jobs at once on this machine, if they are set.

    Raises:
        checks.UserError: a name or an option is unknown, or an extra is missing.
    """
    checks.choice("executor", name, KINDS)
    file, needed = KINDS[name]
    if needed and importlib.util.find_spec(needed) is None:
        raise checks.UserError(
            f"executor={name} needs the package {needed}, which is not installed. "
            f'Install the extra: pip install -e ".[{name}]".'
        )
    module = importlib.import_module(f"{__package__}.{file}")
    given = options(name, texts, module.OPTIONS)
    if processes is not None:
        if name != "local":
            raise checks.UserError(
                f"processes={processes} is read by executor=local alone. "
                f"executor={name} starts as many jobs as the cluster has room for. "
                "Leave it out."
            )
        given["processes"] = processes
    return module.Executor(**given)


def options(
    name: str, texts: Sequence[str], allowed: Mapping[str, str]
) -> dict[str, Any]:
    """Option -> value.

    Args:
        name: The executor.
        texts: The options as they were given, such as `cpus=2`.
        allowed: Option -> its meaning; a key that ends in `*` allows every option
            with that beginning.
    """
    result = {}
    for text in texts:
        key, sign, value = text.partition("=")
        prefixes = tuple(k[:-1] for k in allowed if k.endswith("*"))
        if not sign or not (key in allowed or (prefixes and key.startswith(prefixes))):
            listed = "; ".join(f"{key}: {about}" for key, about in allowed.items())
            advice = "Write option=NAME=VALUE." if allowed else "Set processes=2."
            raise checks.UserError(
                f"option={text} is not known to executor={name}. "
                f"{checks.hint(key, allowed)}Allowed are {listed or 'none'}. {advice}"
            )
        result[key] = suite_files.read_value(value)
    return result


def lost(work: Work, job: Job, cluster: str, error: Exception) -> Status:
    """The state of a job whose process, or the news of whose end, was lost."""
    if job_folders.is_done(work.out, job.name):
        return Status.DONE
    text = f"{cluster} lost it: {type(error).__name__}."
    folder = job_folders.of(work.out, job.name)
    job_folders.record_failure(folder, text, str(error))
    return Status.KILLED


def drive(
    work: Work,
    start: Callable[[Sequence[Job]], Sequence[Callable[[], Status | None]]],
    retries: int,
    places: int | None = None,
) -> None:
    """Starts each job when its source is complete, and reports how it ended.

    Args:
        work: The jobs.
        start: Starts jobs; gives a function for each, which gives None until it ends.
        retries: How often a job is started again that was killed.
        places: The number of jobs at once; None for all that can begin.
    """
    waiting, failed = list(work.jobs), set()
    left = {job.name: retries for job in waiting}
    running: dict[str, tuple[Job, Callable[[], Status | None]]] = {}
    while waiting or running:
        for job in [job for job in waiting if job.source in failed]:
            waiting.remove(job)
            failed.add(job.name)
            work.ended(job, Status.WAITING)
        unfinished = {job.name for job in waiting} | set(running)
        ready = [job for job in waiting if job.source not in unfinished]
        if places is not None:
            ready = ready[: places - len(running)]
        if ready:
            for job, poll in zip(ready, start(ready), strict=True):
                waiting.remove(job)
                running[job.name] = job, poll
        time.sleep(PAUSE)
        for name, (job, poll) in list(running.items()):
            found = poll()
            if found is None:
                continue
            del running[name]
            if found is Status.KILLED and left[name]:
                left[name] -= 1
                waiting.insert(0, job)
                continue
            if found is not Status.DONE:
                failed.add(name)
            work.ended(job, found)
