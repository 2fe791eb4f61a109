"""Jobs on this machine: one process each, a few at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import samg_jax
from samg_jax import durable
from samg_jax.runs import signals
from samg_jax.suites import executors, job_folders, job_worker
from samg_jax.suites.executors import Work
from samg_jax.suites.job_folders import Status
from samg_jax.suites.job_list import Job

OPTIONS: dict[str, str] = {}
TAIL = 3000  # Characters of the output that are kept with a failure.
# Seconds until a process that was told to stop is killed. An interrupted one ends at
# its next step; a terminated one saves first.
GRACE = {signal.SIGINT: 10.0, signal.SIGTERM: 300.0}


@dataclasses.dataclass
class Executor:
    """See `executors`.

    Attributes:
        processes: The number of jobs at once.
    """

    processes: int = 1

    def run(self, work: Work) -> None:
        pool: list[subprocess.Popen] = []
        try:
            start = functools.partial(_start, work, pool)
            executors.drive(work, start, work.retries, self.processes)
        except BaseException as error:
            hurry = isinstance(error, KeyboardInterrupt)
            hurry &= not isinstance(error, signals.Terminated)
            _stop(pool, signal.SIGINT if hurry else signal.SIGTERM)
            raise


def _start(
    work: Work, pool: list[subprocess.Popen], jobs: Sequence[Job]
) -> Sequence[Callable[[], Status | None]]:
    """Starts a process per job, and adds it to the pool."""
    package = pathlib.Path(samg_jax.__file__).parent.parent
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    modules = os.pathsep.join(filter(None, [str(package), *work.paths, *known]))
    polls = []
    for job in jobs:
        folder = job_folders.of(work.out, job.name)
        program = [sys.executable, "-m", job_worker.__name__]
        with durable.writing(work.out):
            file = (folder / job_folders.OUTPUT).open("ab")
        with file:
            process = subprocess.Popen(
                [*program, str(work.out.absolute()), job.name, str(os.getpid())],
                env={**os.environ, "PYTHONPATH": modules},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # What is typed at the terminal reaches this process alone.
                start_new_session=True,
            )
        pool.append(process)
        polls.append(functools.partial(_poll, process, folder))
    return polls


def _poll(process: subprocess.Popen, folder: pathlib.Path) -> Status | None:
    """The state of a job by its process and its folder; None while it runs."""
    code = process.poll()
    if code is None:
        return None
    if job_folders.done(folder) is not None:
        return Status.DONE
    if code == job_worker.FAILED:
        return Status.FAILED
    # Our own handlers of signals end a process with 128 and the signal's number.
    number = -code if code < 0 else code - 128
    killed = number in tuple(signal.Signals)
    by = signal.Signals(number).name if killed else f"exit status {code}"
    text = (folder / job_folders.OUTPUT).read_text(errors="replace")[-TAIL:]
    job_folders.record_failure(folder, f"The process ended with {by}.", text)
    return Status.KILLED if killed else Status.FAILED


def _stop(pool: Sequence[subprocess.Popen], number: signal.Signals) -> None:
    """Tells all processes to stop and waits; kills those that do not.

    Args:
        pool: The processes, also those that have ended.
        number: SIGINT, or SIGTERM for processes that shall save first.
    """
    for process in pool:
        process.send_signal(number)
    end = time.monotonic() + GRACE[number]
    try:
        for process in pool:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(end - time.monotonic(), 0.0))
    finally:  # Also at once, if the user insists.
        for process in pool:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
