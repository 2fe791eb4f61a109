"""Jobs on a Ray cluster: the one that RAY_ADDRESS names, else one of this machine.

Every node must see the folder of the suite under the same path, and have this package.
Ray places jobs, and starts lost ones again, perhaps elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import signal
from collections.abc import Callable, Sequence
from typing import Any

import ray

from samg_jax import checks
from samg_jax.suites import executors, job_worker
from samg_jax.suites.executors import Work
from samg_jax.suites.job_folders import Status
from samg_jax.suites.job_list import Job

OPTIONS = {
    "cpus": "cores of a job",
    "gpus": "GPUs of a job, by default one if the cluster has any",
}


@dataclasses.dataclass
class Executor:
    """See `executors`.

    Attributes:
        cpus: The cores of a job.
        gpus: The GPUs of a job; None for one if there are any.
    """

    cpus: float = 1
    gpus: float | None = None

    def __post_init__(self):
        for name, value in (("cpus", self.cpus), ("gpus", self.gpus or 0)):
            if not isinstance(value, (int, float)):
                value = math.nan
            checks.number(f"option={name}", value, 0, math.inf, 1)

    def run(self, work: Work) -> None:
        if not ray.is_initialized():
            handler = signal.getsignal(signal.SIGTERM)
            ray.init(log_to_driver=False)
            with contextlib.suppress(ValueError):  # Not in the main thread.
                signal.signal(signal.SIGTERM, handler)  # Ray puts its own there.
        gpus = self.gpus
        if gpus is None:
            gpus = min(ray.cluster_resources().get("GPU", 0), 1)
        limit = max(node["Resources"].get("memory", 0) for node in ray.nodes())
        submitted: list[ray.ObjectRef] = []

        def start(jobs: Sequence[Job]) -> Sequence[Callable[[], Status | None]]:
            polls = []
            for job in jobs:
                task = ray.remote(**self.options(work, job, gpus, limit))(_run)
                given = str(work.out.absolute()), job.name, list(work.paths)
                submitted.append(task.remote(*given))
                polls.append(functools.partial(_poll, work, job, submitted[-1]))
            return polls

        try:
            executors.drive(work, start, retries=0)  # Ray does that.
        except BaseException:
            for reference in submitted:
                with contextlib.suppress(ray.exceptions.RayError, ValueError):
                    ray.cancel(reference, force=True)
            raise

    def options(
        self, work: Work, job: Job, gpus: float, limit: float
    ) -> dict[str, Any]:
        """Ray's options of a job.

        Args:
            work: All jobs.
            job: The one to be placed.
            gpus: Its GPUs.
            limit: The bytes of the largest node; a job that needed more would wait
                for ever.
        """
        return {
            "name": job.name,
            "num_cpus": self.cpus,
            "num_gpus": gpus,
            "memory": int(min(work.memory(job), limit)),
            "max_retries": work.retries,
            "max_calls": 1,  # The process of a job is no other's.
        }


def _poll(work: Work, job: Job, reference: ray.ObjectRef) -> Status | None:
    """The state of a job, None while it waits or runs."""
    ended, _ = ray.wait([reference], timeout=0)
    if not ended:
        return None
    try:
        return Status(ray.get(reference))
    except ray.exceptions.RayError as error:
        return executors.lost(work, job, "Ray", error)


def _run(*given: Any) -> str:
    """Trains a job in a worker of the cluster; takes what `job_worker.work` does."""
    return job_worker.work(*given).value
