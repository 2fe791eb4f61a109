"""Trains one job, in the process that calls: of this machine, of Ray, or of SLURM.

Every job has a process of its own, so that nothing that happens to it can stop the
others. As a program, this module is the process that the executor `local` starts.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

import jax

from samg_jax import checks, compilation, durable, logs, provenance
from samg_jax.results import run_summary
from samg_jax.runs import lifecycle, signals
from samg_jax.runs.live_run import Run
from samg_jax.suites import job_folders
from samg_jax.suites.job_folders import Status
from samg_jax.suites.job_list import Job

FAILED = 70  # The exit status of a job that failed, which is written down.
INTERRUPTED = 130  # As shells have it.
BEAT = 2.0  # Seconds between two updates of `usage.json`.
KILOBYTE = 1024


class Usage:
    """Time and memory of a job, earlier processes included, written as it runs."""

    def __init__(self, folder: pathlib.Path):
        """Begins to measure.

        Args:
            folder: The folder of the job.
        """
        self._path = folder / job_folders.USAGE
        self._about = provenance.describe()
        before = durable.read_json(self._path) or {}
        self._before = {
            name: before[name] if isinstance(before.get(name), (int, float)) else 0
            for name in ("wall_time", "peak_memory")
        }
        self._began = time.monotonic()

    def read(self) -> dict[str, Any]:
        """Seconds, and the most bytes: the device's if it counts them."""
        passed = time.monotonic() - self._began
        return {
            "wall_time": self._before["wall_time"] + passed,
            "peak_memory": max(peak_memory(), self._before["peak_memory"]),
            "machine": self._about,
        }

    @contextlib.contextmanager
    def kept(self, parent: int | None):
        """Writes the file now and then, inside the block.

        Args:
            parent: See `work`.
        """
        ended = threading.Event()

        def write():
            while not ended.wait(BEAT):
                if parent is not None and os.getppid() != parent:
                    os._exit(INTERRUPTED)
                with contextlib.suppress(OSError):  # A full disk may have room later.
                    durable.write_json(self._path, self.read())

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def peak_memory() -> int:
    """The most bytes that this process held, on the device if that counts them."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else KILOBYTE * peak


def work(
    out: str, name: str, paths: Sequence[str] = (), parent: int | None = None
) -> Status:
    """Trains a job, or what is left of it; a failure is written down.

    Args:
        out: The folder of the suite. Below it everything is relative.
        name: The name of the job.
        paths: Folders to find modules in.
        parent: The pid whose process this one ends with, if any.
    """
    sys.path += [path for path in paths if path not in sys.path]
    os.chdir(out)
    here = pathlib.Path()
    folder = job_folders.of(here, name)
    # A process of an earlier command, orphaned on the cluster, may still have the job.
    with job_folders.locked(folder, wait=True):
        try:
            if job_folders.is_done(here, name):
                return Status.DONE
            job = job_folders.load(here, name)
            if job.source is not None and not job_folders.is_done(here, job.source):
                return Status.WAITING
            usage = Usage(folder)
            with usage.kept(parent):
                run = train(job, job_folders.workdir(folder))
            facts = {"data_source": run.data_source, "physics": run.parts.physics}
            job_folders.complete(folder, run.workdir, {**facts, **usage.read()})
        except Exception as error:
            details = "".join(traceback.format_exception(error))
            print(details, file=sys.stderr)
            known = isinstance(error, checks.UserError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            job_folders.record_failure(folder, text, details)
            return Status.FAILED
    return Status.DONE


def train(job: Job, workdir: pathlib.Path) -> Run:
    """Runs the experiment of a job, or what is left of it."""
    config = job.experiment()
    if job.source is not None:
        source = job_folders.of(pathlib.Path(), job.source)
        config.offline.restore = str(source / job_folders.COMPLETE)
    compilation.start()
    compilation.use_cache(config.compilation_cache)
    run = lifecycle.run(config, workdir)
    run_summary.report(run)
    return run


def main(out: str, name: str, parent: str) -> None:
    """Works on a job, and ends the process.

    Args:
        out: See `work`.
        name: See `work`.
        parent: See `work`.
    """
    logs.quiet_libraries()
    try:
        with signals.handled("Terminated by SIGTERM."):
            status = work(out, name, parent=int(parent))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0 if status is Status.DONE else FAILED)


if __name__ == "__main__":
    main(*sys.argv[1:])
