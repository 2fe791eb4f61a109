"""Jobs on a SLURM cluster, through submitit: an array per offline phase and its forks.

This process submits the forks of an offline phase when that is complete; if it is
stopped, it cancels the jobs. Every node must see the folder of the suite under the same
path, and have this package.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import submitit

from samg_jax import checks
from samg_jax.suites import executors, job_worker
from samg_jax.suites.executors import Work
from samg_jax.suites.job_folders import Status
from samg_jax.suites.job_list import Job

OPTIONS = {
    "cluster": "`slurm`, or `local` for processes of this machine",
    "timeout_min": "minutes of a job, 1440 by default",
    "cpus_per_task": "cores of a job",
    "gpus_per_node": "GPUs of a job",
    "mem_gb": "GB of a job on the host, by default its estimate with headroom",
    "slurm_*": "what submitit passes on, such as slurm_partition",
}
GIGABYTE = 1e9
# SLURM kills a job beyond its limit. The estimate covers data, states and the base of a
# machine without GPU. It lacks what a compiled program holds meanwhile: CQL with 8
# seeds took 1.9 GB instead of the estimated 1.15 (launch/results/benchmark_memory.md).
# It also lacks what a GPU's driver and libraries take on the host: a few GB by
# experience, not measured here.
HEADROOM = 2.0
HEADROOM_GPU = 4 * GIGABYTE


class Executor:
    """See `executors`.

    A job that SLURM stops for its time, or preempts, is queued again and continues.
    """

    def __init__(self, cluster: str = "slurm", **parameters: Any):
        """Checks the cluster.

        Args:
            cluster: `slurm` or `local`.
            **parameters: What submitit takes.
        """
        if cluster not in ("slurm", "local"):
            raise checks.UserError(
                f"option=cluster={cluster} is not known. Allowed are slurm and "
                "local. Leave it out for slurm."
            )
        self._cluster = cluster
        self._parameters = {"timeout_min": 1440, **parameters}

    def run(self, work: Work) -> None:
        submitted: list[submitit.Job] = []

        def start(jobs: Sequence[Job]) -> Sequence[Callable[[], Status | None]]:
            handles = self._submit(work, jobs)
            submitted.extend(handles)
            pairs = zip(jobs, handles, strict=True)
            return [functools.partial(_poll, work, *pair) for pair in pairs]

        try:
            executors.drive(work, start, work.retries)
        except BaseException:
            for handle in submitted:
                if not handle.done():
                    handle.cancel(check=False)
            raise

    def _submit(self, work: Work, jobs: Sequence[Job]) -> list[submitit.Job]:
        """Submits jobs as one array."""
        out = work.out.absolute()
        executor = submitit.AutoExecutor(out / "submitit", cluster=self._cluster)
        memory = limit_gb(max(work.memory(job) for job in jobs))
        executor.update_parameters(
            **{"name": "samg_jax", "mem_gb": memory, **self._parameters}
        )
        with executor.batch():
            return [
                executor.submit(Task(str(out), job.name, work.paths)) for job in jobs
            ]


def limit_gb(estimate: float) -> int:
    """The GB on the host that a job may take.

    Args:
        estimate: The bytes that it is estimated to need.
    """
    return math.ceil((HEADROOM * estimate + HEADROOM_GPU) / GIGABYTE)


class Task:
    """A job as submitit pickles it."""

    def __init__(self, *given: Any):
        """Keeps what `job_worker.work` takes."""
        self._given = given

    def __call__(self) -> str:
        """Trains the job; the value of its `Status`."""
        return job_worker.work(*self._given).value

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What is to be queued again; the job's own checkpoints do the rest."""
        return submitit.helpers.DelayedSubmission(self)


def _poll(work: Work, job: Job, handle: submitit.Job) -> Status | None:
    """The state of a job, None while it waits or runs."""
    if not handle.done():
        return None
    try:
        return Status(handle.result())
    except submitit.core.utils.UncompletedJobError as error:
        return executors.lost(work, job, "SLURM", error)
