"""One case in a separate process: time to the first update, and memory.

Up to there it does what `samg_jax.train` does, with the same functions.
`case_processes` starts it; it prints one line of JSON.
"""

import contextlib
import importlib
import json
import pathlib
import resource
import sys
import time
from typing import Any

import jax

from samg_jax import compilation
from samg_jax.benchmarking import benchmark_cases, timed_programs
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import lifecycle
from samg_jax.training import offline_phase

MEGABYTE = 1e6


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Measure the seconds until every stage, and the memory.

    Args:
        request: The fields of a `Case` as `case`; the paths `configs`, `data` and
            `workdir`; the `time.time()` at which the process began as `started`; and
            the number of calls as `calls`, each with the fewest updates that the
            trainer takes in one.
    """
    stages: dict[str, float] = {}

    def reached(stage: str) -> None:
        stages[stage] = time.time() - request["started"]

    importlib.import_module("samg_jax.train")  # All imports of that program count.
    jax.devices()
    reached("imports")
    before = peak_memory_mb()
    case = benchmark_cases.Case(**request["case"])
    configs, path = pathlib.Path(request["configs"]), pathlib.Path(request["data"])
    config = benchmark_cases.load(case, configs, path)
    compilation.use_cache(config.compilation_cache)
    precision = compilation.matmul_precision(config.matmul_precision)
    workdir = pathlib.Path(request["workdir"])
    experiment = lifecycle.prepare(config, workdir)
    with precision, contextlib.ExitStack() as stack:
        _, plan = lifecycle.start(experiment, workdir, stack)
        data = timed_programs.to_device(plan.dataset, plan.preprocessing)
        reached("data")
        prepared = timed_programs.prepare(case, experiment, data)
        reached("state")
        program = timed_programs.Program(prepared, fewest(case, experiment))
        reached("compilation")
        program.call()
        reached("first_update")
    for _ in range(request["calls"] - 1):
        program.call()
    return {
        "batch_size": prepared.batch_size,
        "stages": stages,
        "memory": memory(program, data, before),
    }


def fewest(case: benchmark_cases.Case, experiment: Experiment) -> int:
    """Returns how few updates the trainer takes in a call of the case's phase."""
    if case.phase == "offline":
        return offline_phase.LOOK_EVERY
    return experiment.settings.online.updates_per_step


def memory(
    program: timed_programs.Program, data: timed_programs.Data, before: float
) -> dict[str, Any]:
    """Megabytes of the arrays, of the program, and of this process.

    Args:
        program: The program after its calls.
        data: The data on the device.
        before: The peak memory of the process after all imports.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    host = peak_memory_mb()
    return {
        "dataset_mb": size_mb(jax.tree.leaves(data.dataset)),
        "state_mb": size_mb(jax.tree.leaves(program.state)),
        "arrays_mb": size_mb(jax.live_arrays()),
        "program_mb": program_mb(program.compiled),
        "device_peak_mb": None if peak is None else peak / MEGABYTE,
        "host_peak_mb": host,
        "host_before_mb": before,
    }


def peak_memory_mb() -> float:
    """The most memory that this process has held at once, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def program_mb(compiled: Any) -> float:
    """The megabytes of a program's arguments, results and temporaries.

    They are NaN if the backend does not report them.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return float("nan")
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    total += sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
    return total / MEGABYTE


def size_mb(arrays: list[jax.Array]) -> float:
    """The total megabytes of arrays."""
    return sum(array.nbytes for array in arrays) / MEGABYTE


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # Only the answer goes to stdout.
        answer = measure(json.loads(sys.argv[1]))
    print(json.dumps(answer))
