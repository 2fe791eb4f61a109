"""The requests of `samg_jax.benchmark`: checked, then measured into one report."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from samg_jax import checks, compilation, provenance
from samg_jax.benchmarking import (
    benchmark_cases,
    case_processes,
    matmul,
    online_loop,
    report_files,
    synthetic_data,
    timed_programs,
    torch_process,
    update_speed,
)
from samg_jax.experiment import config_files

SIZES = ("1", "4", "16", "64")
TRACED = 20  # The updates of a traced call: a trace of a thousand is too long to read.

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of measurement, and its defaults.

    Attributes:
        phases: the allowed phases.
        usual: the phases by default.
        families: the families by default.
        seeds: the numbers of seeds by default.
        apart: whether each case has its own process. This process then leaves the
            device alone, because the cases need its memory.
    """

    phases: Sequence[str] = benchmark_cases.PHASES
    usual: Sequence[str] = ("offline",)
    families: Sequence[str] = tuple(benchmark_cases.DATASETS)
    seeds: Sequence[str] = ("1",)
    apart: bool = False


KINDS = {
    "updates": Kind(usual=("offline", "no_data", "samg"), seeds=SIZES),
    "online": Kind(benchmark_cases.PHASES[1:], ("vanilla", "samg"), seeds=SIZES),
    "compile": Kind(apart=True),
    "memory": Kind(seeds=SIZES, apart=True),
    "profile": Kind(families=("locomotion",)),
}


@dataclasses.dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        kind: one of `KINDS`.
        cases: the cases to measure.
        configs: the folder of the config files.
        repeats: the number of timed repeats of everything.
        seconds: the duration of a repeat, or of a compiled call, of updates.
        steps: the environment steps of a repeat of the online loop.
        baseline: `torch`, or None.
        threads: the threads of ours and of the baseline; None for all cores.
        matmul_precision: one of `compilation.PRECISIONS`, for the cases' configs.
        out: the path of the report; None for no report.
    """

    kind: str
    cases: Sequence[benchmark_cases.Case]
    configs: pathlib.Path = config_files.HOME
    repeats: int = 7
    seconds: float = 1.0
    steps: int = 1_000
    baseline: str | None = None
    threads: int | None = None
    matmul_precision: str = compilation.DEFAULT_PRECISION
    out: pathlib.Path | None = None


def check(request: Request) -> None:
    """Refuses what cannot be measured; computes nothing."""
    if not request.cases:
        raise checks.UserError(
            "None of these algorithms is trained in one of these phases. "
            + "; ".join(
                f"{k}: {', '.join(v)}" for k, v in benchmark_cases.TRAINED_IN.items()
            )
            + ". Set algorithms=NAME,... or phases=NAME,... to others."
        )
    if request.baseline is not None:
        if request.kind != "updates":
            raise checks.UserError(
                f"baseline={request.baseline} was given with {request.kind}. Only "
                "updates are compared. Leave it out, or measure updates."
            )
        torch_process.check(request.baseline)
    if request.kind == "profile" and request.out is None:
        raise checks.UserError(
            "out is empty, but profile writes files. It may be any folder. Write "
            "out=traces."
        )
    if request.threads is not None and request.threads > cores():
        raise checks.UserError(
            f"threads is {request.threads}, but there are {cores()} cores to use. "
            "Allowed are as many, or fewer. Lower it, or leave it out."
        )
    benchmark_cases.check(request.cases, request.configs)
    if request.out is not None:
        report_files.check(request.kind, request.out)


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # Not Linux.


def limit(threads: int | None) -> None:
    """Limit this process, and those that it starts, to some cores; None for all.

    JAX counts the cores when it starts, so this comes before any computation.

    Raises:
        checks.UserError: The system cannot do it.
    """
    if threads is None or threads == cores():
        return
    if not hasattr(os, "sched_setaffinity"):
        raise checks.UserError(
            f"threads is {threads}, but only Linux can keep a process on some of its "
            f"{cores()} cores. Leave it out."
        )
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def run(request: Request, folder: pathlib.Path, command: str) -> dict[str, Any]:
    """Measure the report of a request, and save it whenever it grows.

    Args:
        request: A checked request.
        folder: An empty folder for temporary files.
        command: The command that requested it.
    """
    load = round(os.getloadavg()[0], 2)  # The load before we add to it.
    name = request.matmul_precision
    # The peak is measured in another process if this one must not touch the device.
    found = circumstances
    if KINDS[request.kind].apart:
        found = functools.partial(case_processes.alone, circumstances)
    report = {
        "kind": request.kind,
        "command": command,
        **found(name),
        "load": load,
        "repeats": request.repeats,
        "matmul_precision": name,
        "finished": False,
        "rows": [],
    }
    request = _precise(request)
    with compilation.matmul_precision(name):
        for rows in _MEASURES[request.kind](request, folder):
            report["rows"] += rows
            report_files.keep(request.out, report)
    report["finished"] = True
    report_files.keep(request.out, report)
    return report


def circumstances(precision: str) -> dict[str, Any]:
    """The setup of the measurement, and the machine's peak speed.

    Args:
        precision: A key of `compilation.PRECISIONS`.
    """
    with compilation.matmul_precision(precision):
        peak = matmul.machine_peak()
    return {"machine": provenance.describe(), "square_matmul_peak_gflops": peak}


def _precise(request: Request) -> Request:
    """The request with its precision in its cases' configs."""
    field = {"matmul_precision": request.matmul_precision}
    precise = [
        dataclasses.replace(case, settings={**case.settings, **field})
        for case in request.cases
    ]
    return dataclasses.replace(request, cases=precise)


def _updates(request: Request, folder: pathlib.Path) -> Iterator[Rows]:
    threads = None if request.baseline is None else cores()
    return update_speed.measure(
        request.cases,
        request.configs,
        folder,
        request.repeats,
        request.seconds,
        threads,
        _progress,
    )


def _online(request: Request, folder: pathlib.Path) -> Iterator[Rows]:
    single = {}  # The rows with one seed come first; the others are compared with them.
    for case in sorted(request.cases, key=lambda case: case.seeds):
        row = online_loop.measure(
            case, request.configs, folder, request.repeats, request.steps
        )
        alike = str(dataclasses.replace(case, seeds=1))
        summed = row["summed"]["median"]
        if case.seeds == 1:
            single[alike] = summed
        elif alike in single:
            row["over_one_seed"] = summed / single[alike]
        _progress(f"{row['algorithm']}: {row['summed']['median']:,.1f} steps/s")
        yield [row]


def _compile(request: Request, folder: pathlib.Path) -> Iterator[Rows]:
    for case in request.cases:
        times = case_processes.compile_times(
            case, request.configs, folder, request.repeats
        )
        _progress(f"{case.algorithm}: {times['cold']['total']['median']:.1f} s cold")
        yield [times]


def _memory(request: Request, folder: pathlib.Path) -> Iterator[Rows]:
    for case in request.cases:
        yield [case_processes.memory(case, request.configs, folder)]


def _profile(request: Request, folder: pathlib.Path) -> Iterator[Rows]:
    rate = 1e9 * matmul.machine_peak(repeats=1)
    for case in request.cases:
        task = benchmark_cases.experiment(case, request.configs).task
        data = synthetic_data.file(folder, task, case.rows)
        experiment = benchmark_cases.experiment(case, request.configs, data)
        prepared = timed_programs.prepare(
            case, experiment, timed_programs.load(experiment)
        )
        flops = timed_programs.flops(prepared)
        chunk = timed_programs.chunk_of(flops, rate, request.seconds)
        program = timed_programs.Program(prepared, min(chunk, TRACED))
        program.call()
        path = request.out / f"{case.algorithm}_{case.phase}_{case.family}_{case.seeds}"
        with jax.profiler.trace(str(path), create_perfetto_trace=True):
            for _ in range(request.repeats):
                program.call()
        updates_taken = program.chunk * request.repeats
        yield [{**case.describe(), "updates": updates_taken, "trace": str(path)}]


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_MEASURES = {
    "updates": _updates,
    "online": _online,
    "compile": _compile,
    "memory": _memory,
    "profile": _profile,
}
