"""One case in a process of its own: from its start to its first update, and its memory.

Does what `samg_jax.train` does up to there, by the functions that it calls. Started by
`processes.py`; prints one line of JSON.
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
import ml_collections

from samg_jax import compilation
from samg_jax.benchmarking import benchmark_cases, timed_programs
from samg_jax.runs import lifecycle
from samg_jax.training import offline_phase

MEGABYTE = 1e6


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """The seconds until every stage, and memory.

    Args:
        request: `case`, fields of a `Case`; `configs`, `data` and `workdir`, paths;
            `started`, the `time.time()` at which the process began; `calls`, how many,
            each of as few updates as the trainer takes at least.
    """
    stages: dict[str, float] = {}

    def reached(stage: str) -> None:
        stages[stage] = time.time() - request["started"]

    importlib.import_module("samg_jax.train")  # Whatever that program imports.
    jax.devices()
    reached("imports")
    before = peak_memory_mb()
    case = benchmark_cases.Case(**request["case"])
    configs, path = pathlib.Path(request["configs"]), pathlib.Path(request["data"])
    config = benchmark_cases.load(case, configs, path)
    compilation.use_cache(config.compilation_cache)
    precision = compilation.matmul_precision(config.matmul_precision)
    workdir = pathlib.Path(request["workdir"])
    parts = lifecycle.prepare(config, workdir)
    with precision, contextlib.ExitStack() as stack:
        _, plan = lifecycle.start(config, parts, workdir, stack)
        data = timed_programs.to_device(plan.dataset, plan.preprocessing)
        reached("data")
        prepared = timed_programs.prepare(case, config, data)
        reached("state")
        program = timed_programs.Program(prepared, fewest(case, config))
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


def fewest(case: benchmark_cases.Case, config: ml_collections.ConfigDict) -> int:
    """How few updates the trainer takes in a call of the case's phase."""
    if case.phase == "offline":
        return offline_phase.LOOK_EVERY
    return config.online.updates_per_step


def memory(
    program: timed_programs.Program, data: timed_programs.Data, before: float
) -> dict[str, Any]:
    """Megabytes: of arrays, of the program, and of this process.

    Args:
        program: after its calls.
        data: on the device.
        before: peak of the process when it had imported everything.
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
    """The most memory that this process has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def program_mb(compiled: Any) -> float:
    """The megabytes of arguments, results and temporaries of a program.

    NaN if the backend does not say.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return float("nan")
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    total += sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
    return total / MEGABYTE


def size_mb(arrays: list[jax.Array]) -> float:
    """The megabytes of arrays."""
    return sum(array.nbytes for array in arrays) / MEGABYTE


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # The output is the answer alone.
        answer = measure(json.loads(sys.argv[1]))
    print(json.dumps(answer))
