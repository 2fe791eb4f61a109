"""Jobs on a SLURM cluster, through submitit: an array per offline phase and its forks.

This process submits the forks of an offline phase when that is complete; where it is
stopped, the same command goes on. Every node must see the folder of the suite under
the same path, and have this package.
"""

from __future__ import annotations

import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import submitit

from samg_jax import checks
from samg_jax.suites import job_folders, job_runner
from samg_jax.suites.executors import Work
from samg_jax.suites.job_list import Job
from samg_jax.suites.job_runner import Status

OPTIONS = {
    "cluster": "`slurm`, or `local` for processes of this machine",
    "timeout_min": "minutes of a job, 1440 by default",
    "cpus_per_task": "cores of a job",
    "gpus_per_node": "GPUs of a job",
    "mem_gb": "GB of a job on the host, by default of its estimate with headroom",
    "slurm_*": "what submitit passes on, such as slurm_partition",
}
GIGABYTE = 1e9
# SLURM kills what goes beyond its limit, and the estimate is of data and states, with
# the base of a machine without GPU. What a compiled program holds meanwhile is not in
# it: CQL with 8 seeds took 1.9 GB where 1.15 were estimated (launch/results/
# benchmark_memory.md). Nor is what a GPU's driver and libraries take on the host: a few
# GB by experience, not measured here.
HEADROOM = 2.0
HEADROOM_GPU = 4 * GIGABYTE


class Executor:
    """See `executors.Executor`.

    A job that SLURM stops for its time, or preempts, is queued again and goes on.
    """

    def __init__(self, cluster: str = "slurm", **parameters: Any):
        if cluster not in ("slurm", "local"):
            raise checks.UserError(
                f"option=cluster={cluster} is not known. Allowed are slurm and "
                "local. Leave it out for slurm."
            )
        self._cluster = cluster
        self._parameters = {"timeout_min": 1440, **parameters}

    def run(self, work: Work) -> None:
        waiting = list(work.jobs)
        running: dict[str, tuple[Job, submitit.Job]] = {}
        failed: set[str] = set()
        while waiting or running:
            for job in [job for job in waiting if job.source in failed]:
                waiting.remove(job)
                failed.add(job.name)
                work.ended(job, Status.WAITING)
            open_jobs = {job.name for job in waiting} | set(running)
            ready = [job for job in waiting if job.source not in open_jobs]
            waiting = [job for job in waiting if job not in ready]
            if ready:
                submitted = self._submit(work, ready)
                for job, handle in zip(ready, submitted, strict=True):
                    running[job.name] = job, handle
            for name, (job, handle) in list(running.items()):
                if handle.done():
                    del running[name]
                    found = _status(work, job, handle)
                    if found is not Status.DONE:
                        failed.add(name)
                    work.ended(job, found)
            time.sleep(job_runner.PAUSE)

    def _submit(self, work: Work, jobs: Sequence[Job]) -> list[submitit.Job]:
        """Returns the jobs as submitted, as one array."""
        folder = work.out.absolute() / "submitit"
        executor = submitit.AutoExecutor(folder, cluster=self._cluster)
        memory = limit_gb(max(work.memory(job) for job in jobs))
        executor.update_parameters(
            **{"name": "samg_jax", "mem_gb": memory, **self._parameters}
        )
        with executor.batch():
            return [
                executor.submit(Task(work.out, job.name, work.retries, work.paths))
                for job in jobs
            ]


def limit_gb(estimate: float) -> int:
    """Returns the GB on the host that a job may take.

    Args:
        estimate: bytes.
    """
    return math.ceil((HEADROOM * estimate + HEADROOM_GPU) / GIGABYTE)


class Task:
    """A job as submitit pickles it."""

    def __init__(
        self, out: pathlib.Path, name: str, retries: int, paths: Sequence[str]
    ):
        self._out, self._name = str(out.absolute()), name
        self._retries, self._paths = retries, list(paths)

    def __call__(self) -> str:
        """Runs the job and returns how it ended."""
        path = pathlib.Path(self._out)
        return job_runner.run(path, self._name, self._retries, self._paths).value

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Returns what is to be queued again; the job's own checkpoints do the rest."""
        return submitit.helpers.DelayedSubmission(self)


def _status(work: Work, job: Job, handle: submitit.Job) -> Status:
    try:
        return Status(handle.result())
    except submitit.core.utils.UncompletedJobError as error:
        folder = job_folders.of(work.out, job.name)
        if job_folders.sound(job_folders.done(folder)):  # Only the news of it was lost.
            return Status.DONE
        text = f"SLURM lost it: {type(error).__name__}."
        job_folders.record_failure(folder, text, str(error))
        return Status.FAILED
