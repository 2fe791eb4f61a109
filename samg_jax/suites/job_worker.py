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
from collections.abc import Callable, Iterator, Sequence
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


@contextlib.contextmanager
def measured(
    folder: pathlib.Path, parent: int | None
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Keeps `usage.json` up to date, inside the block; yields what reads the usage.

    Time and memory of earlier processes are included.

    Args:
        folder: The folder of the job.
        parent: See `work`.
    """
    path = folder / job_folders.USAGE
    known = durable.read_json(path) or {}
    before = {k: v for k, v in known.items() if isinstance(v, (int, float))}
    machine, began, ended = provenance.describe(), time.monotonic(), threading.Event()

    def usage() -> dict[str, Any]:
        passed = time.monotonic() - began
        return {
            "wall_time": before.get("wall_time", 0) + passed,
            "peak_memory": max(before.get("peak_memory", 0), peak_memory()),
            "machine": machine,
        }

    def keep() -> None:
        while not ended.wait(BEAT):
            if parent is not None and os.getppid() != parent:
                os._exit(INTERRUPTED)
            with contextlib.suppress(OSError):  # A full disk may have room later.
                durable.write_json(path, usage())

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield usage
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
            with measured(folder, parent) as usage:
                run = train(job, job_folders.workdir(folder))
            facts = {"data_source": run.data_source, "physics": run.experiment.physics}
            job_folders.complete(folder, run.workdir, {**facts, **usage()})
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
    run = lifecycle.run(config, workdir, evaluated=run_summary.redraw)
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
