"""Cases in separate processes: time to the first update, and peak memory."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

from samg_jax.benchmarking import benchmark_cases, repeated_timings, synthetic_data
from samg_jax.benchmarking.benchmark_cases import Case

CALLS = 3  # The number of calls before memory is measured.
STAGES = ("imports", "data", "state", "compilation", "first_update")


def compile_times(
    case: Case, configs: pathlib.Path, folder: pathlib.Path, times: int
) -> dict[str, Any]:
    """Seconds from start to first update, with an empty and with a filled cache.

    Each stage counts from the end of the previous one; `total` is the user's wait.

    Args:
        case: The case to start.
        configs: The folder of the config files.
        folder: A folder for the random data, the caches and the runs.
        times: The number of repeats, each with its own cache.
    """
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(times):
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            for kind in ("cold", "warm"):
                answer = run(case, configs, folder, cache=cache)
                found[kind].append(answer["stages"])
    return {**case.describe(), **{k: _by_stage(v) for k, v in found.items()}}


def memory(case: Case, configs: pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    """Megabytes of a case after some updates; see `case_worker.memory`.

    Args:
        case: The case to run.
        configs: The folder of the config files.
        folder: A folder for the random data and the run.
    """
    answer = run(case, configs, folder, calls=CALLS)
    return {
        **case.describe(),
        "batch_size": answer["batch_size"],
        **answer["memory"],
    }


def run(
    case: Case,
    configs: pathlib.Path,
    folder: pathlib.Path,
    cache: str | None = None,
    calls: int = 1,
) -> dict[str, Any]:
    """The answer of `case_worker` after `calls` calls.

    Raises:
        RuntimeError: The process failed; the error contains the end of its messages.
    """
    task = benchmark_cases.experiment(case, configs).task
    data = synthetic_data.file(folder, task, case.rows)
    environment = dict(os.environ)
    if cache is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = cache
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        request = {
            "case": dataclasses.asdict(case),
            "configs": str(configs),
            "data": str(data),
            "workdir": workdir,
            "calls": calls,
            "started": time.time(),
        }
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "samg_jax.benchmarking.case_worker",
                json.dumps(request),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(
            f"The process of {case.describe()} ended with status {done.returncode}:\n"
            f"{done.stderr[-3000:]}"
        )
    return json.loads(done.stdout)


def alone(fn: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a module's function, in a process that ends with it."""
    spawn = multiprocessing.get_context("spawn")  # A fork would share JAX's threads.
    with futures.ProcessPoolExecutor(1, spawn) as process:
        return process.submit(fn, *arguments).result()


def _by_stage(times: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    result, before = {}, [0.0] * len(times)
    for stage in STAGES:
        reached = [one[stage] for one in times]
        passed = [now - then for now, then in zip(reached, before, strict=True)]
        result[stage] = repeated_timings.summarize(passed)
        before = reached
    result["total"] = repeated_timings.summarize(before)
    return result
