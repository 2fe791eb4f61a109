"""What a suite would do and need: its jobs, their memory, and the time left."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Sequence

from tqdm import tqdm

from samg_jax.experiment import resolve
from samg_jax.runs import dry_run
from samg_jax.suites import job_folders
from samg_jax.suites.job_list import Job

MINUTE, HOUR = 60.0, 3600.0
GIGABYTE = 1e9


class Estimator:
    """The memory that jobs need; what many of them share is worked out once."""

    def __init__(self):
        """Begins with nothing worked out."""
        self._rows: dict[str, int] = {}
        self._states: dict[str, int] = {}

    def memory(self, job: Job) -> tuple[float, float]:
        """Bytes on the device and on the host, whether or not the source is there."""
        experiment = resolve.from_fields(job.experiment().to_dict())
        fits = experiment.model is not None and experiment.guidance.weight != "cvae"
        rows = 0
        if job.source is None or fits or experiment.settings.online.reads_dataset:
            rows = self._rows_of(job)
        key = dry_run.states_key(experiment)
        if key not in self._states:
            self._states[key] = dry_run.state_bytes(experiment)
        return dry_run.memory(experiment, rows, self._states[key])

    def _rows_of(self, job: Job) -> int:
        key = json.dumps(job.config["dataset"], sort_keys=True)
        if key not in self._rows:
            experiment = resolve.from_fields(job.experiment().to_dict())
            self._rows[key], _ = dry_run.dataset_rows(experiment)
        return self._rows[key]


def describe(out: pathlib.Path, jobs: Sequence[Job], estimator: Estimator) -> str:
    """A table of the jobs of a suite, how far they are, and what they need."""
    lines = [("job", "state", "updates", "steps", "device", "host")]
    left, done, worked = [], [], 0.0
    for job in tqdm(jobs, "estimating", unit="job", dynamic_ncols=True):
        device, host = estimator.memory(job)
        folder = job_folders.of(out, job.name)
        state = "failed" if (folder / job_folders.FAILED).exists() else "to do"
        facts = job_folders.done(folder)
        if job_folders.sound(facts):
            state = "done"
            done.append(job)
            worked += facts["wall_time"]
        else:
            left.append(job)
        online = job.config["online"]["steps"]
        updates = 0 if job.source else job.config["offline"]["updates"]
        lines.append(
            (
                job.name,
                state,
                f"{updates:,}" if updates else "",
                f"{online:,}" if online else "",
                f"{device / GIGABYTE:.2f} GB",
                f"{host / GIGABYTE:.2f} GB",
            )
        )
    seeds = sum(job.config["num_seeds"] for job in jobs if job.source is None)
    return (
        f"{_aligned(lines)}\n\n{len(jobs)} jobs, {seeds} seeds pre-trained. "
        f"To be done: {len(left)} jobs{_time_left(left, done, worked)}.\n"
        "Memory: data and states, without activations."
    )


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Cells under each other, the first two columns flush left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _time_left(left: Sequence[Job], done: Sequence[Job], worked: float) -> str:
    """Words about the time left, empty before the first job is complete.

    Args:
        left: The jobs that are not complete.
        done: The complete jobs.
        worked: The seconds that the complete jobs took together.
    """
    if not left or not done:
        return ""
    seconds = worked * sum(map(size, left)) / sum(map(size, done))
    return (
        f", about {duration(seconds)} one after another at the speed of the complete "
        "jobs"
    )


def size(job: Job) -> int:
    """The updates and environment steps of a job, of all its seeds."""
    offline, online = job.config["offline"], job.config["online"]
    updates = 0 if job.source else offline["updates"]
    updates += online["steps"] * (1 + online["updates_per_step"])
    return max(updates, 1) * job.config["num_seeds"]


def duration(seconds: float) -> str:
    """Hours, or minutes if it is less than one."""
    if seconds < HOUR:
        return f"{math.ceil(seconds / MINUTE)} min"
    return f"{seconds / HOUR:.1f} h"
