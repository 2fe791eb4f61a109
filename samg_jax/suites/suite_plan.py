"""What a suite would do and need: its jobs, their memory, and the time left."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Callable, Sequence

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
        self._known: dict[str, int] = {}

    def memory(self, job: Job) -> tuple[float, float]:
        """Bytes on the device and on the host, whether or not the source is there."""
        experiment = resolve.from_fields(job.experiment().to_dict())
        fits = experiment.model is not None and experiment.guidance.weight != "cvae"
        rows = 0
        if job.source is None or fits or experiment.settings.online.reads_dataset:
            dataset = json.dumps(job.config["dataset"], sort_keys=True)
            rows = self._once(dataset, lambda: dry_run.dataset_rows(experiment)[0])
        key = dry_run.states_key(experiment)
        states = self._once(key, lambda: dry_run.state_bytes(experiment))
        return dry_run.memory(experiment, rows, states)

    def _once(self, key: str, compute: Callable[[], int]) -> int:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


def describe(out: pathlib.Path, jobs: Sequence[Job], estimator: Estimator) -> str:
    """A table of the jobs of a suite, how far they are, and what they need."""
    width = max(len(job.name) for job in jobs)
    row = f"{{:{width}}}  {{:6}}{{:>11}}{{:>12}}{{:>10}}{{:>10}}"
    lines = [row.format("job", "state", "updates", "steps", "device", "host")]
    done, worked = [], 0.0
    for job in tqdm(jobs, "estimating", unit="job", dynamic_ncols=True):
        folder = job_folders.of(out, job.name)
        state = "failed" if (folder / job_folders.FAILED).exists() else "to do"
        facts = job_folders.done(folder)
        if facts is not None:
            state = "done"
            done.append(job)
            worked += facts["wall_time"]
        updates = 0 if job.source else job.config["offline"]["updates"]
        counts = (updates, job.config["online"]["steps"])
        counts = [f"{count:,}" if count else "" for count in counts]
        sizes = [f"{need / GIGABYTE:.2f} GB" for need in estimator.memory(job)]
        lines.append(row.format(job.name, state, *counts, *sizes))
    seeds = sum(job.config["num_seeds"] for job in jobs if job.source is None)
    left, time_left = [job for job in jobs if job not in done], ""
    if left and done:
        seconds = worked * sum(map(size, left)) / sum(map(size, done))
        time_left = (
            f", about {duration(seconds)} one after another at the speed of the "
            "complete jobs"
        )
    table = "\n".join(lines)
    return (
        f"{table}\n\n{len(jobs)} jobs, {seeds} seeds pre-trained. "
        f"To be done: {len(left)} jobs{time_left}.\n"
        "Memory: data and states, without activations."
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
