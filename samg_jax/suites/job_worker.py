"""The process of one job: claims it, trains, and writes down that it is complete.

Started by `runner`; a job has a process of its own so that nothing that happens to it
can stop the others.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import sys
import time
import traceback
from typing import Any

import jax

from samg_jax import checks, compilation, logs, provenance, shared_files
from samg_jax.results import run_summary
from samg_jax.runs import lifecycle, signals
from samg_jax.runs.live_run import Run
from samg_jax.suites import claims, job_folders, repair
from samg_jax.suites.job_list import Job

BUSY = 75  # Exit status where another process has the job.
FAILED = 70  # Where the job failed, which is written down.
INTERRUPTED = 130  # As shells have it.
KILOBYTE = 1024


class Usage:
    """Time and memory of a job, those of earlier processes included."""

    def __init__(self, folder: pathlib.Path):
        self._path = folder / job_folders.USAGE
        self._about = provenance.describe()
        before = shared_files.read_json(self._path) or {}
        self._before = {
            name: before[name] if isinstance(before.get(name), (int, float)) else 0
            for name in ("wall_time", "peak_memory")
        }
        self._began = time.monotonic()

    def write(self) -> None:
        shared_files.write_json(self._path, self.read())

    def read(self) -> dict[str, Any]:
        """Returns seconds, and bytes at most: the device's where it counts them."""
        passed = time.monotonic() - self._began
        peak = max(peak_memory(), self._before["peak_memory"])
        return {
            "wall_time": self._before["wall_time"] + passed,
            "peak_memory": peak,
            "machine": self._about,
        }


def peak_memory() -> int:
    """Returns the most bytes that this process held, on the device if it counts."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else KILOBYTE * peak


def main(arguments: list[str]) -> None:
    """Works on the job that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path, help="folder of the suite")
    parser.add_argument("name", help="of the job")
    parser.add_argument("number", type=int, help="of the claim")
    parser.add_argument("parent", type=int, help="pid of the process that waits")
    given = parser.parse_args(arguments)
    logs.quiet_libraries()
    try:
        with signals.handled("Terminated by SIGTERM."):
            work(given)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def work(given: argparse.Namespace) -> None:
    """Claims the job and trains, or ends the process with what hinders it."""
    os.chdir(given.out)  # Below it everything is relative: the folder can be moved.
    job = job_folders.load(pathlib.Path(), given.name)
    folder = job_folders.of(pathlib.Path(), given.name)
    claim = claims.take(folder, given.number)
    if claim is None or job_folders.sound(job_folders.done(folder)):
        sys.exit(BUSY)
    repair.mend(folder)
    usage = Usage(folder)
    claim.keep(given.parent, usage.write)
    try:
        workdir = job_folders.take_over(folder, given.number)
        done = workdir is not None and finish(claim, usage, train(job, workdir))
    except (Exception, SystemExit) as error:
        details = "".join(traceback.format_exception(error))
        print(details, file=sys.stderr)
        if not claim.current:
            os._exit(claims.LOST)
        known = isinstance(error, checks.UserError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        job_folders.record_failure(folder, text, details)
        sys.exit(FAILED)
    finally:
        claim.release()
    if not done:
        sys.exit(BUSY)


def train(job: Job, workdir: pathlib.Path) -> Run:
    """Runs the experiment of a job, or what is left of it."""
    config = job.experiment()
    if job.source is not None:
        source = job_folders.of(pathlib.Path(), job.source)
        config.offline.restore = str(job_folders.finished_run(source))
    compilation.start()
    compilation.use_cache(config.compilation_cache)
    run = lifecycle.run(config, workdir, evaluated=run_summary.redraw)
    run_summary.report(run)
    return run


def finish(claim: claims.Claim, usage: Usage, run: Run) -> bool:
    """Makes the job complete; returns False where another process has it by now.

    One that takes it over after the look at the claim makes the renaming fail.
    """
    if not claim.current:
        return False
    facts = {"data_source": run.data_source, **usage.read()}
    facts["physics"] = run.parts.physics
    if not job_folders.complete(claim.folder, run.workdir, facts):
        return False
    (claim.folder / job_folders.FAILED).unlink(missing_ok=True)
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
