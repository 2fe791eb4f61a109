"""Jobs on a Ray cluster: the one that RAY_ADDRESS names, else one of this machine.

Every node must see the folder of the suite under the same path, and have this package.
Ray waits for sources, places jobs, and starts lost ones again, perhaps elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import ray

from samg_jax import checks
from samg_jax.suites import job_folders, job_worker
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
            ray.init(log_to_driver=False)
        gpus = self.gpus
        if gpus is None:
            gpus = min(ray.cluster_resources().get("GPU", 0), 1)
        limit = max(node["Resources"].get("memory", 0) for node in ray.nodes())
        references: dict[str, ray.ObjectRef] = {}
        try:
            for job in work.jobs:
                options = self.options(work, job, gpus, limit)
                given = str(work.out.absolute()), job.name, list(work.paths)
                task = ray.remote(_run).options(**options)
                references[job.name] = task.remote(*given, references.get(job.source))
            self._collect(work, references)
        except BaseException:
            for reference in references.values():
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

    def _collect(self, work: Work, references: dict[str, ray.ObjectRef]) -> None:
        """Reports every job when it has ended."""
        jobs = {references[job.name]: job for job in work.jobs}
        lost: set[str] = set()
        while jobs:
            ended, _ = ray.wait(list(jobs), num_returns=1)
            for reference in ended:
                job = jobs.pop(reference)
                found = Status.WAITING
                if job.source not in lost:  # Otherwise the source's error is its own.
                    found = _status(work, job, reference)
                if found is not Status.DONE:
                    lost.add(job.name)
                work.ended(job, found)


def _status(work: Work, job: Job, reference: ray.ObjectRef) -> Status:
    try:
        return Status(ray.get(reference))
    except ray.exceptions.RayError as error:
        if job_folders.is_done(work.out, job.name):  # Only the news of it was lost.
            return Status.DONE
        folder = job_folders.of(work.out, job.name)
        text = f"Ray lost it: {type(error).__name__}."
        job_folders.record_failure(folder, text, str(error))
        return Status.FAILED


def _run(out: str, name: str, paths: list[str], source: str | None) -> str:
    """Trains a job in a worker of the cluster.

    Args:
        out: The folder of the suite.
        name: The name of the job.
        paths: Folders to find modules in.
        source: The state of the job that it forks from; Ray waits for that.
    """
    del source  # Its folder says the same.
    return job_worker.work(out, name, paths).value
