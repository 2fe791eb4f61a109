"""Jobs on this machine, one after another or a few at once.

Several machines that see one folder can each run the same command: every job is taken
by one of them, and what another has is come back to.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator

from samg_jax.runs import signals
from samg_jax.suites import claims, executors, job_processes, job_runner
from samg_jax.suites.executors import Work
from samg_jax.suites.job_list import Job
from samg_jax.suites.job_runner import Status

OPTIONS = {"parallel": "jobs at once"}


@dataclasses.dataclass
class Executor:
    """See `executors.Executor`.

    Attributes:
        parallel: jobs at once.
    """

    parallel: int = 1

    def __post_init__(self):
        executors.positive("parallel", self.parallel)

    def run(self, work: Work) -> None:
        observer = claims.Observer()
        waiting = list(work.jobs)
        left = {job.name: work.retries for job in waiting}
        failed: set[str] = set()
        running: dict[concurrent.futures.Future, Job] = {}
        processes = job_processes.Processes()
        with (
            concurrent.futures.ThreadPoolExecutor(self.parallel) as pool,
            _stopping(processes),
        ):
            while waiting or running:
                for job in list(waiting):
                    if job.source in failed:
                        waiting.remove(job)
                        failed.add(job.name)
                        work.ended(job, Status.WAITING)
                open_jobs = {job.name for job in (*waiting, *running.values())}
                ready = [job for job in waiting if job.source not in open_jobs]
                for job in ready[: self.parallel - len(running)]:
                    waiting.remove(job)
                    given = work.out, job.name, observer, work.paths, processes
                    running[pool.submit(job_runner.attempt, *given)] = job
                concurrent.futures.wait(
                    running, job_runner.PAUSE, concurrent.futures.FIRST_COMPLETED
                )
                busy = 0
                for future in [future for future in running if future.done()]:
                    job, found = running.pop(future), future.result()
                    if found is Status.KILLED and left[job.name] > 0:
                        left[job.name] -= 1
                        waiting.insert(0, job)
                    elif found in (Status.BUSY, Status.WAITING):
                        waiting.append(job)
                        busy += 1
                    else:
                        if found is not Status.DONE:
                            failed.add(job.name)
                            found = Status.FAILED
                        work.ended(job, found)
                if busy or not running:
                    time.sleep(job_runner.PAUSE)


@contextlib.contextmanager
def _stopping(processes: job_processes.Processes) -> Iterator[None]:
    """Stops the processes of jobs where the block ends early, whatever ends it."""
    try:
        yield
    except BaseException as error:
        hurry = isinstance(error, KeyboardInterrupt)
        hurry &= not isinstance(error, signals.Terminated)
        processes.stop(signal.SIGINT if hurry else signal.SIGTERM)
        raise
