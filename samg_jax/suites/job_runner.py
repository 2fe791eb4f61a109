"""Starting the process of a job and telling how it ended; what executors call."""

from __future__ import annotations

import enum
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import samg_jax
from samg_jax import checks, durable
from samg_jax.runs import signals
from samg_jax.suites import claims, job_folders, job_processes, job_worker
from samg_jax.suites.job_list import Job

PAUSE = 1.0  # Seconds between two looks at a job that another process has.
TAIL = 3000  # Characters of the output that are kept with a failure.


class Status(enum.Enum):
    """How a job stands after it was tried."""

    DONE = "done"
    FAILED = "failed"
    BUSY = "busy"  # Another process has it.
    WAITING = "waiting"  # For its source.
    KILLED = "killed"  # Its process was; may be tried again.


def status(out: pathlib.Path, job: Job) -> Status | None:
    """Returns how a job stands by its folder; None where it can be tried."""
    if job_folders.sound(job_folders.done(job_folders.of(out, job.name))):
        return Status.DONE
    if job.source is None or job_folders.sound(
        job_folders.done(job_folders.of(out, job.source))
    ):
        return None
    return Status.WAITING


def attempt(
    out: pathlib.Path,
    name: str,
    observer: claims.Observer,
    paths: Sequence[str] = (),
    processes: job_processes.Processes | None = None,
) -> Status:
    """Tries a job once and returns how it stands.

    Args:
        out: folder of the suite.
        name: of the job.
        observer: the caller's, the same at every attempt.
        paths: folders where the process looks for modules, besides this package's.
        processes: that are stopped together; by default this one alone.

    Raises:
        KeyboardInterrupt: the processes were stopped, or this one was interrupted.
    """
    out = out.absolute()
    folder = job_folders.of(out, name)
    try:
        found = status(out, job_folders.load(out, name))
    except checks.UserError as error:  # Its file was damaged since.
        _record(folder, str(error), "")
        return Status.FAILED
    if found is not None:
        return found
    number = observer.next_number(folder)
    if number is None:
        return Status.BUSY
    package = pathlib.Path(samg_jax.__file__).parent.parent
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    modules = os.pathsep.join(filter(None, [str(package), *paths, *known]))
    program = [sys.executable, "-m", job_worker.__name__]
    output = folder / f"output-{number}.txt"
    processes = processes or job_processes.Processes()
    with durable.writing(out):
        file = output.open("ab")
    with file:
        code = processes.run(
            [*program, str(out), name, str(number), str(os.getpid())],
            env={**os.environ, "PYTHONPATH": modules},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if job_folders.sound(job_folders.done(folder)):
        return Status.DONE
    if code in (job_worker.BUSY, claims.LOST):
        return Status.BUSY
    if processes.stopped or code in (job_worker.INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code == job_worker.FAILED:
        return Status.FAILED
    if code == signals.TERMINATED:
        code = -signal.SIGTERM
    by = f"signal {-code}" if code < 0 else f"exit status {code}"
    text = output.read_text(errors="replace")[-TAIL:]
    _record(folder, f"The process ended with {by}.", text)
    return Status.KILLED if code < 0 else Status.FAILED


def _record(folder: pathlib.Path, error: str, details: str) -> None:
    with durable.writing(folder):
        job_folders.record_failure(folder, error, details)


def run(
    out: pathlib.Path, name: str, retries: int = 0, paths: Sequence[str] = ()
) -> Status:
    """Runs a job to its end, waiting while another process has it.

    Args:
        out: folder of the suite.
        name: of the job.
        retries: how often it is started again after its process was killed.
        paths: see `attempt`.
    """
    observer = claims.Observer()
    while True:
        found = attempt(out, name, observer, paths)
        if found is Status.KILLED and retries > 0:
            retries -= 1
        elif found is Status.BUSY:
            time.sleep(PAUSE)
        else:
            return Status.FAILED if found is Status.KILLED else found


def record_blocked(out: pathlib.Path, job: Job) -> None:
    """Writes down that a job was not begun because its source is not complete."""
    error = f"Not begun: {job.source}, from which it forks, is not complete."
    job_folders.record_failure(job_folders.of(out, job.name), error, "")
