"""Jobs on a Ray cluster: the one that RAY_ADDRESS names, else one of this machine.

Every node must see the folder of the suite under the same path, and have this package.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import ray

from samg_jax.suites import executors, job_folders, job_runner
from samg_jax.suites.executors import Work
from samg_jax.suites.job_list import Job
from samg_jax.suites.job_runner import Status

OPTIONS = {
    "cpus": "cores of a job",
    "gpus": "GPUs of a job, by default one where the cluster has any",
}


@dataclasses.dataclass
class Executor:
    """See `executors.Executor`.

    A job runs where its GPUs or cores and the memory of its estimate are free. Ray
    starts it again, perhaps elsewhere, when its worker or node is lost.

    Attributes:
        cpus: of a job.
        gpus: of a job, None for one where there are any.
    """

    cpus: float = 1
    gpus: float | None = None

    def __post_init__(self):
        executors.positive("cpus", self.cpus, 0)
        executors.positive("gpus", self.gpus or 0, 0)

    def run(self, work: Work) -> None:
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        gpus = self.gpus
        if gpus is None:
            gpus = min(ray.cluster_resources().get("GPU", 0), 1)
        limit = max(node["Resources"].get("memory", 0) for node in ray.nodes())
        task = ray.remote(_run)
        references: dict[str, ray.ObjectRef] = {}
        for job in work.jobs:
            options = self.options(work, job, gpus, limit)
            references[job.name] = task.options(**options).remote(
                str(work.out.absolute()),
                job.name,
                work.retries,
                list(work.paths),
                references.get(job.source),
            )
        self._collect(work, references)

    def options(
        self, work: Work, job: Job, gpus: float, limit: float
    ) -> dict[str, Any]:
        """Returns what Ray places a job by.

        Args:
            work: of which the job is.
            job: to be placed.
            gpus: of it.
            limit: bytes of the node that has the most; a job that were to need more
                would wait for ever.
        """
        return {
            "name": job.name,
            "num_cpus": self.cpus,
            "num_gpus": gpus,
            "memory": int(min(work.memory(job), limit)),
            "max_retries": work.retries,
        }

    def _collect(self, work: Work, references: dict[str, ray.ObjectRef]) -> None:
        """Reports every job when it has ended."""
        jobs = {references[job.name]: job for job in work.jobs}
        while jobs:
            ended, _ = ray.wait(list(jobs), num_returns=1)
            for reference in ended:
                job = jobs.pop(reference)
                work.ended(job, _status(work, job, reference))


def _status(work: Work, job: Job, reference: ray.ObjectRef) -> Status:
    try:
        return Status(ray.get(reference))
    except ray.exceptions.RayError as error:
        folder = job_folders.of(work.out, job.name)
        if job_folders.sound(job_folders.done(folder)):  # Only the news of it was lost.
            return Status.DONE
        text = f"Ray lost it: {type(error).__name__}."
        job_folders.record_failure(folder, text, str(error))
        return Status.FAILED


def _run(
    out: str, name: str, retries: int, paths: list[str], source: str | None
) -> str:
    """Runs a job in a worker of the cluster.

    Args:
        out: folder of the suite.
        name: of the job.
        retries: after its process was killed.
        paths: where it looks for modules.
        source: how the job ended that it forks from; Ray waits for that.
    """
    del source  # Its folder says the same.
    return job_runner.run(pathlib.Path(out), name, retries, paths).value
