"""Updates per second of the algorithms, and their share of the peak speed."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from samg_jax.benchmarking import (
    benchmark_cases,
    matmul,
    repeated_timings,
    synthetic_data,
    timed_programs,
    torch_process,
)
from samg_jax.benchmarking.benchmark_cases import Case

Row = dict[str, Any]


def measure(
    cases: Sequence[Case],
    configs: pathlib.Path,
    folder: pathlib.Path,
    rounds: int,
    seconds: float,
    baseline_threads: int | None = None,
    log: Callable[[str], None] = print,
) -> Iterator[list[Row]]:
    """Yields rows for all cases, in their order, the rows of a group together.

    A group is measured in turns, for a fair comparison: all cases of one algorithm,
    family, batch size and number of rows, and the baseline.

    Args:
        cases: Checked cases.
        configs: The folder of the config files.
        folder: A folder for the random data.
        rounds: The number of timed repeats of each case.
        seconds: The least duration of one repeat.
        baseline_threads: The threads of the baseline; None for no baseline.
        log: A function that receives a line per finished case.

    Raises:
        RuntimeError: A seed becomes non-finite, or the baseline's process ends.
    """
    for _, group in itertools.groupby(cases, _group):
        with _measured(
            list(group), configs, folder, seconds, baseline_threads
        ) as taken:
            for _ in range(rounds):
                taken.take_turn(seconds)
            rows = taken.rows()
        for row in rows:
            log(_line(row))
        yield rows


def _group(case: Case) -> tuple[Any, ...]:
    return case.family, case.algorithm, case.batch_size, case.rows


class _Turns:
    """The programs of a group, and the rates of their turns.

    Attributes:
        programs: the programs, one per case.
        flops: the FLOPs of an update of all seeds, one per case.
        rates: the updates per second and seed, one list per program.
        other: the baseline; None without one.
        other_rates: the baseline's updates per second.
        peaks: the highest GFLOP/s of each shape of matrix products in any turn.
        square: the highest GFLOP/s of a large square product in any turn.
    """

    def __init__(
        self, group: list[timed_programs.Program], flops: list[float], other: Any
    ):
        self.programs, self.flops, self.other = group, flops, other
        self.rates: list[list[float]] = [[] for _ in group]
        self.other_rates: list[float] = []
        self.peaks = dict.fromkeys(
            (timed_programs.matrices(program.prepared) for program in group), 0.0
        )
        self.square = 0.0

    def take_turn(self, seconds: float) -> None:
        """Measure everything once."""
        for program, rates in zip(self.programs, self.rates, strict=True):
            rates.append(program.rate(seconds))
        if self.other is not None:
            self.other_rates.append(self.other.rate(seconds))
        for shape, best in self.peaks.items():
            self.peaks[shape] = max(best, matmul.peak(*shape, repeats=1))
        self.square = max(self.square, matmul.machine_peak(repeats=1))

    def rows(self) -> list[Row]:
        """The measurements, one row per program."""
        return [self._row(place) for place in range(len(self.programs))]

    def _row(self, place: int) -> Row:
        program, rates = self.programs[place], self.rates[place]
        case = program.prepared.case
        summed = [rate * case.seeds for rate in rates]
        row = {
            **case.describe(),
            "batch_size": program.prepared.batch_size,
            "chunk": program.chunk,
            "per_seed": repeated_timings.summarize(rates),
            "summed": repeated_timings.summarize(summed),
            **self._operations(place),
        }
        single = self._rates_of(phase=case.phase, seeds=1)
        if single is not None and case.seeds > 1:
            row["over_one_seed"] = repeated_timings.ratios(summed, single)
        plain = self._rates_of(phase="no_data", seeds=case.seeds)
        if plain is not None and case.phase == "samg":
            # The cost compares times, so the ratio of the rates is inverted.
            row["guidance_cost"] = repeated_timings.ratios(plain, rates)
        if self.other is not None and torch_process.covers(case):
            row["baseline"] = repeated_timings.summarize(self.other_rates)
            row["over_baseline"] = repeated_timings.ratios(summed, self.other_rates)
            row["baseline_version"] = self.other.version
        return row

    def _operations(self, place: int) -> Row:
        program, rates = self.programs[place], self.rates[place]
        flops = self.flops[place]
        achieved = repeated_timings.summarize([rate * flops / 1e9 for rate in rates])
        peak = self.peaks[timed_programs.matrices(program.prepared)]
        return {
            "mflop_per_update": flops / program.prepared.case.seeds / 1e6,
            "gflops": achieved,
            "peak_gflops": peak,
            "share_of_peak": achieved["median"] / peak,
            "square_peak_gflops": self.square,
            "share_of_square_peak": achieved["median"] / self.square,
        }

    def _rates_of(self, phase: str, seeds: int) -> list[float] | None:
        for program, rates in zip(self.programs, self.rates, strict=True):
            case = program.prepared.case
            if (case.phase, case.seeds) == (phase, seeds):
                return rates
        return None


@contextlib.contextmanager
def _measured(
    group: list[Case],
    configs: pathlib.Path,
    folder: pathlib.Path,
    seconds: float,
    baseline_threads: int | None,
) -> Iterator[_Turns]:
    """Yields the programs of a group, already compiled, on one copy of the data."""
    first = group[0]
    task = benchmark_cases.experiment(first, configs).task
    path = synthetic_data.file(folder, task, first.rows)
    data = timed_programs.load(benchmark_cases.experiment(first, configs, path))
    rate = 1e9 * matmul.machine_peak(repeats=1)
    built, flops = [], []
    for case in group:
        experiment = benchmark_cases.experiment(case, configs, path)
        prepared = timed_programs.prepare(case, experiment, data)
        flops.append(timed_programs.flops(prepared))
        chunk = timed_programs.chunk_of(flops[-1], rate, seconds)
        built.append(timed_programs.Program(prepared, chunk))
        built[-1].call()
    other = None
    if baseline_threads is not None and any(map(torch_process.covers, group)):
        size = built[0].prepared.batch_size
        other = torch_process.Baseline(first, task, size, baseline_threads)
    try:
        yield _Turns(built, flops, other)
    finally:
        if other is not None:
            other.close()


def _line(row: Row) -> str:
    return (
        f"{row['family']} {row['algorithm']} {row['phase']} x {row['seeds']}: "
        f"{row['summed']['median']:,.1f} updates/s"
    )
