"""What `samg_jax.benchmark` is asked for: checked, then measured into one report."""

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
from samg_jax.experiment import config_files, resolution

SIZES = ("1", "4", "16", "64")
TRACED = 20  # Updates of a traced call: a trace of a thousand is too long to look at.

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What can be measured, and of what unless told otherwise.

    Attributes:
        phases: allowed ones.
        usual: phases by default.
        families: likewise.
        seeds: likewise.
        apart: whether each case has a process of its own. This one then leaves the
            device alone, whose memory they need.
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
    """What is to be measured.

    Attributes:
        kind: one of `KINDS`.
        cases: of which.
        configs: folder of the config files.
        repeats: timed ones of everything.
        seconds: of a repeat, or of a compiled call, of updates.
        steps: environment steps of a repeat of the online loop.
        baseline: `torch`, or None.
        threads: of us and of the baseline; None for all cores.
        matmul_precision: of `compilation.PRECISIONS`; goes into the cases' configs.
        out: where the report is kept, None for nowhere.
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
    """Raises UserError for what cannot be measured; computes nothing."""
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
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # Not Linux.


def limit(threads: int | None) -> None:
    """Keeps this process, and those that it starts, on so many cores; None for all.

    Before JAX counts them, so before anything is computed.

    Raises:
        checks.UserError: where the system cannot.
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
    """Returns the report of a request, and keeps it whenever there is more in it.

    Args:
        request: checked.
        folder: an empty one, for what is needed meanwhile.
        command: that asked for it.
    """
    load = round(os.getloadavg()[0], 2)  # Before we add to it.
    name = request.matmul_precision
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
    """Returns what is measured with, and the most that it can do.

    Args:
        precision: of `compilation.PRECISIONS`.
    """
    with compilation.matmul_precision(precision):
        peak = matmul.machine_peak()
    return {"machine": provenance.describe(), "square_matmul_peak_gflops": peak}


def _precise(request: Request) -> Request:
    """Returns the request with its precision in the configs of its cases."""
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
    single = {}  # The rows of one seed come first, for the others to be compared.
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
        task = resolution.resolve_task(benchmark_cases.load(case, request.configs))
        data = synthetic_data.file(folder, task, case.rows)
        config = benchmark_cases.load(case, request.configs, data)
        prepared = timed_programs.prepare(case, config, timed_programs.load(config))
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
