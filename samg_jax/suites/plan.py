"""What a suite would do and need: its jobs with their time and memory."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from samg_jax.benchmarking import cases
from samg_jax.suites import files, folders
from samg_jax.suites.jobs import OFFLINE, VANILLA, Job
from samg_jax.training import command_line, estimate, sampling, sweeps
from samg_jax.training import parts as parts_lib

MEASURED = pathlib.Path("launch/results")  # Where the benchmark's reports are.
UNKNOWN = "unknown"
MINUTE, HOUR = 60.0, 3600.0
GIGABYTE = 1e9
# What a speed depends on, besides what the benchmark's rows name.
SIZES = ("hidden_dims", "num_samples")
# Kind of report -> where a row has updates, or steps, per second and seed.
RATES = {"updates": "per_seed", "online": "steps_per_second"}


class Need(NamedTuple):
    """What a job needs.

    Attributes:
        device: bytes for data and states.
        host: bytes.
        seconds: of its updates or steps, None where nothing like it was measured.
        bound: whether it takes less than that, as its networks are smaller than those
            that were measured.
    """

    device: float
    host: float
    seconds: float | None
    bound: bool = False


class Case(NamedTuple):
    """What a speed was measured of, but for the number of seeds.

    Attributes:
        kind: of report, key of `RATES`: of updates alone, or of whole steps online.
    """

    kind: str
    algorithm: str
    family: str
    phase: str
    batch_size: int


class Estimator:
    """Estimates jobs; what many of them share is worked out once.

    Attributes:
        rates: case -> number of seeds -> updates, or steps, per second.
    """

    def __init__(self, configs: pathlib.Path, measured: pathlib.Path):
        """Reads what `samg_jax.benchmark` measured.

        Args:
            configs: folder of the config files.
            measured: folder of the benchmark's JSON files.
        """
        self.rates: dict[Case, dict[int, float]] = {}
        for path in sorted(measured.glob("benchmark_*.json")):
            self._add(files.read_json(path) or {})
        self._configs = configs
        self._rows: dict[str, int] = {}
        self._states: dict[str, int] = {}
        self._usual: dict[tuple[str, str], dict[str, Any]] = {}

    def _add(self, report: dict[str, Any]) -> None:
        rate = RATES.get(report.get("kind"))
        for row in report.get("rows", ()) if rate else ():
            names = {*Case._fields[1:], "seeds", rate}
            if row.get("updates_per_step") == 1 and names <= set(row):
                fields = (row[name] for name in Case._fields[1:])
                case = Case(report["kind"], *fields)
                by_seeds = self.rates.setdefault(case, {})
                by_seeds.setdefault(row["seeds"], row[rate]["median"])

    def need(self, job: Job) -> Need:
        """Returns what a job needs, whether or not its source is there."""
        bound = self._sizes(job) == "smaller"
        return Need(*self.memory(job), self.seconds(job), bound)

    def memory(self, job: Job) -> tuple[float, float]:
        """Returns the bytes on the device and on the host."""
        config = job.experiment()
        parts = parts_lib.resolve(config)
        fits = parts.model is not None and config.guidance.weight != "cvae"
        rows = 0
        if job.source is None or fits or sampling.needs_dataset(config.online):
            rows = self._rows_of(job)
        key = estimate.states_key(config, parts)
        if key not in self._states:
            self._states[key] = estimate.state_bytes(config, parts)
        return estimate.memory(config, parts, rows, self._states[key])

    def _rows_of(self, job: Job) -> int:
        key = json.dumps(job.config["dataset"], sort_keys=True)
        if key not in self._rows:
            config = job.experiment()
            parts = parts_lib.resolve(config)
            self._rows[key], _ = estimate.dataset_rows(config, parts)
        return self._rows[key]

    def seconds(self, job: Job) -> float | None:
        """Returns the time of the updates or steps, None where it is unknown.

        Between numbers of seeds that were measured the time of an update is taken to
        grow in proportion, and so beyond the largest. Where no steps online were
        measured it is that of their updates. Of networks smaller than the measured ones
        it is what those would take.
        """
        config = job.experiment()
        if self._sizes(job) == "larger":
            return None
        offline = job.variant == OFFLINE
        phase = config.offline if offline else config.online
        updates = 1 if offline else phase.updates_per_step
        seeds = config.num_seeds
        if not offline:
            seeds = len(sweeps.spread(parts_lib.resolve(config)).seeds)
        family = config.dataset.family
        if family == "demo":
            family = "locomotion"
        if offline:
            tried = [("updates", OFFLINE)]
        elif config.guidance.weight != "none":
            tried = [("online", "samg"), ("updates", "samg")]
        elif job.variant == VANILLA:
            tried = [("online", VANILLA), ("updates", "no_data")]
        else:
            tried = [("online", "no_data"), ("online", "samg"), ("updates", "no_data")]
        for kind, name in tried:
            if kind == "online" and updates != 1:
                continue
            case = Case(kind, job.algorithm, family, name, phase.batch_size)
            rates = self.rates.get(case, {})
            if rates and seeds >= min(rates):
                count = phase.updates if offline else phase.steps * updates
                return count * _seconds_each(rates, seeds)
        return None

    def _sizes(self, job: Job) -> str:
        """Returns how the networks are to those that the benchmark measures."""
        family = job.config["dataset"]["family"]
        dataset = cases.DATASETS.get(family, cases.DATASETS["locomotion"])
        key = job.algorithm, dataset
        if key not in self._usual:
            file = self._configs / f"{job.algorithm}.py"
            self._usual[key] = command_line.load(str(file), dataset).agent.to_dict()
        usual, agent = self._usual[key], job.config["agent"]
        pairs = [
            (np.atleast_1d(agent[name]), np.atleast_1d(value))
            for name, value in usual.items()
            if name.endswith(SIZES) and value and agent.get(name)
        ]
        if all(np.array_equal(own, other) for own, other in pairs):
            return "equal"
        smaller = all(
            len(own) <= len(other) and np.all(own <= other[: len(own)])
            for own, other in pairs
        )
        return "smaller" if smaller else "larger"


def _seconds_each(rates: dict[int, float], seeds: int) -> float:
    """Returns the seconds of an update of all seeds.

    Args:
        rates: number of seeds, at most `seeds` for one of them -> updates per second.
        seeds: how many train.
    """
    counts = sorted(rates)
    if seeds > counts[-1]:
        return seeds / counts[-1] / rates[counts[-1]]
    return float(np.interp(seeds, counts, [1 / rates[count] for count in counts]))


def describe(out: pathlib.Path, jobs: Sequence[Job], estimator: Estimator) -> str:
    """Returns the jobs of a suite, how they stand, and what they need, as a table."""
    lines = [("job", "state", "updates", "steps", "time", "device", "host")]
    left: list[Need] = []
    for job in tqdm(jobs, "estimating", unit="job", dynamic_ncols=True):
        need = estimator.need(job)
        folder = folders.of(out, job.name)
        state = "failed" if (folder / folders.FAILED).exists() else "to do"
        if folders.sound(folders.done(folder)):
            state = "done"
        if state != "done":
            left.append(need)
        online = job.config["online"]["steps"]
        updates = 0 if job.source else job.config["offline"]["updates"]
        lines.append(
            (
                job.name,
                state,
                f"{updates:,}" if updates else "",
                f"{online:,}" if online else "",
                _time(need),
                f"{need.device / GIGABYTE:.2f} GB",
                f"{need.host / GIGABYTE:.2f} GB",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    seeds = sum(job.config["num_seeds"] for job in jobs if job.source is None)
    return (
        f"{text}\n\n{len(jobs)} jobs, {seeds} seeds pre-trained. To be done: "
        f"{in_all(left)}.\nTime: updates or steps at the speed of "
        f"{MEASURED}/benchmark_*.json, on the machine that is named there, without "
        "evaluations offline and without the fit of the weight; with < at that of "
        "larger networks. Memory: data and "
        "states, without activations."
    )


def duration(seconds: float) -> str:
    """Returns hours, or minutes where it is less than one."""
    if seconds < HOUR:
        return f"{math.ceil(seconds / MINUTE)} min"
    return f"{seconds / HOUR:.1f} h"


def in_all(needs: Sequence[Need]) -> str:
    """Returns the time of jobs one after another, in words."""
    known = [need for need in needs if need.seconds is not None]
    total = f"{duration(sum(need.seconds for need in known))} one after another"
    bound = any(need.bound for need in known)
    if len(known) == len(needs):
        return f"less than {total}" if bound else total
    if not known:
        return f"{UNKNOWN}, as the time of every job is"
    unknown = f"and {len(needs) - len(known)} jobs whose time is {UNKNOWN}"
    return f"{'about' if bound else 'at least'} {total}, {unknown}"


def _time(need: Need) -> str:
    if need.seconds is None:
        return UNKNOWN
    return f"{'< ' if need.bound else ''}{duration(need.seconds)}"
