r"""Times what was tried against a missed target of throughput, beside what ships.

    python launch/remedies.py --cases=awac,td3_bc --threads=2 \
        --out=launch/results/remedies.json

Every row is the trainer's offline update on half-cheetah's shapes, altered as the row
says, in processes of its own. All rows of a case, and what they are compared with, take
turns, so that whatever else the machine does hits all. Before, each takes ten updates
from the same start: `difference` is how far its parameters then are from those of the
shipped update, in units of how far these moved; above 0.01 it is not called the same.

`--out` has the cases of earlier calls, too, but for those measured again; a table is
written beside it. Needs the extra `torch`; measure on a machine that does nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from concurrent import futures
from typing import Any

import jax
import numpy as np
import remedy_cases
import remedy_patches
from absl import flags

from samg_jax.analysis import machine
from samg_jax.benchmarking import (
    baseline,
    matmul,
    measures,
    programs,
    repeats,
    synthetic,
    tables,
)
from samg_jax.benchmarking import cases as cases_lib
from samg_jax.suites import files
from samg_jax.training import command_line, compilation, logs, schedule
from samg_jax.training import parts as parts_lib

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
DATA = 50_000  # Rows; every process has them.
CHECKED = 10  # Updates, of which the parameters are compared.
ALLOWED = 0.01  # Difference that is called rounding.
NETWORKS = ("actor", "critic", "target_critic", "target_actor", "value")
SAME = {True: "yes", False: "no", None: tables.NONE}

COLUMNS: tuple[tables.Column, ...] = (
    ("remedy", lambda row: row["remedy"]),
    ("updates/s, summed", tables.number("updates_per_second")),
    ("x as shipped", tables.number("over_shipped", 3)),
    ("x reference", tables.number("over_reference", 3)),
    ("updates per call", tables.number("updates_per_call", 0)),
    ("difference", tables.number("difference", 6)),
    ("same update", lambda row: SAME[row.get("same_update")]),
)

CHOSEN = flags.DEFINE_list("cases", list(remedy_cases.CASES), "To measure.")
REPEATS = command_line.define_integer("repeats", 7, "Turns.", 1)
SECONDS = flags.DEFINE_float("seconds", 1.0, "Of a turn, at least.", 0.0)
THREADS = command_line.define_integer(
    "threads", None, "Cores to use; by default all.", 1
)
OUT = flags.DEFINE_string("out", None, "JSON file; a .md is written beside it.")
SERVE = flags.DEFINE_string("serve", None, "Of the processes that it starts itself.")


def build(request: dict[str, Any]) -> list[programs.Program]:
    """Returns the programs of some seeds, compiled: to compare, and to time.

    Args:
        request: see `Worker`.
    """
    case = cases_lib.Case(**request["case"])
    config = cases_lib.load(case, CONFIGS, pathlib.Path(request["data"]))
    data, chunk = programs.load(config), request["chunk"]
    return [
        programs.Program(programs.prepare(case, config, data), updates)
        for updates in (math.gcd(chunk, CHECKED), chunk)
    ]


def parameters(program: programs.Program) -> np.ndarray:
    """Returns all parameters of every seed, `[S, P]`."""
    agent = program.state.agent
    found = []
    for name in NETWORKS:
        network = getattr(agent, name, None)
        found += jax.tree.leaves(getattr(network, "params", network))
    rows = [np.asarray(leaf).reshape(len(leaf), -1) for leaf in found]
    return np.concatenate(rows, axis=1)


def serve(requests: list[dict[str, Any]]) -> None:
    """Is a process of a remedy: builds its programs, runs them when it is told to.

    Args:
        requests: one per program; see `Worker`.
    """
    first = requests[0]
    if first["core"] is not None:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[first["core"]]})
    compilation.use_cache(compilation.DEFAULT_CACHE)
    built = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(compilation.matmul_precision("float32"))
        for name in first["patches"]:
            stack.enter_context(remedy_patches.PATCHES[name]())
        for request in requests:
            compared, timed = build(request)
            before = parameters(compared)
            for _ in range(CHECKED // compared.chunk):
                compared.call()
            np.save(request["parameters"], [before, parameters(compared)])
            timed.call()
            built.append(timed)
    print(json.dumps({"jax": jax.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(rate(built, first["at_once"], float(line))), flush=True)


def rate(built: list[programs.Program], at_once: bool, seconds: float) -> float:
    """Returns updates per second, summed over the seeds of all programs."""
    seeds = [program.prepared.case.seeds for program in built]
    if at_once:
        with futures.ThreadPoolExecutor(len(built)) as threads:
            rates = list(threads.map(lambda one: one.rate(seconds), built))
        return float(np.dot(rates, seeds))
    rates = [program.rate(seconds / len(built)) for program in built]
    return sum(seeds) / sum(1 / one for one in rates)


class Worker:
    """The processes of a remedy.

    Attributes:
        remedy: what they do.
        chunk: updates of a call.
        before: `[S, P]` parameters at the start.
        after: those after `CHECKED` updates.
    """

    def __init__(
        self,
        remedy: remedy_cases.Remedy,
        case: cases_lib.Case,
        chunk: int,
        data: pathlib.Path,
    ):
        self.remedy, self.chunk = remedy, chunk
        share = case.seeds // remedy.shares
        requests = []
        for place in range(remedy.shares):
            own = dataclasses.replace(
                case, seeds=share, settings={"seed": place * share}
            )
            name = f"{case.algorithm}_{case.seeds}_{remedy.name}_{place}.npy"
            requests.append(
                {
                    "case": dataclasses.asdict(own),
                    "data": str(data),
                    "chunk": chunk,
                    "patches": remedy.patches,
                    "at_once": remedy.at_once,
                    "core": place if remedy.one_core else None,
                    "parameters": str(data.with_name(name)),
                }
            )
        groups = [[one] for one in requests] if remedy.apart else [requests]
        self._processes = [self._start(group) for group in groups]
        for process in self._processes:
            self._read(process)
        pairs = [np.load(request["parameters"]) for request in requests]
        self.before, self.after = np.concatenate(pairs, axis=1)
        print(f"{remedy.name}: ready", file=sys.stderr, flush=True)

    def describe(self, shipped: Worker) -> dict[str, Any]:
        """Returns its row before anything is timed."""
        first = len(self.after)  # Seeds: the shipped update may have more.
        moved = np.linalg.norm(shipped.after[:first] - shipped.before[:first])
        difference = np.linalg.norm(self.after - shipped.after[:first]) / moved
        return {
            "remedy": self.remedy.name,
            "updates_per_call": self.chunk,
            "difference": float(difference),
            "same_update": bool(difference < ALLOWED),
        }

    def _start(self, requests: list[dict[str, Any]]) -> subprocess.Popen:
        set_before = os.environ.get("XLA_FLAGS", "")
        return subprocess.Popen(
            [sys.executable, __file__, f"--serve={json.dumps(requests)}"],
            env=os.environ | {"XLA_FLAGS": f"{set_before} {self.remedy.flags}".strip()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _read(self, process: subprocess.Popen) -> Any:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"The process of {self.remedy.name!r} ended with status "
                f"{process.wait()}; its message is above."
            )
        return json.loads(line)

    def rate(self, seconds: float) -> float:
        """Returns updates per second, summed over seeds and processes."""
        for process in self._processes:
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        return sum(self._read(process) for process in self._processes)

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.stdin.close()
            process.wait()


def measure(name: str, folder: pathlib.Path, gflops: float) -> list[dict[str, Any]]:
    """Returns a row per remedy of a case: what ships first, the reference last.

    Args:
        name: of `remedy_cases.CASES`.
        folder: for the random data.
        gflops: of a large product of matrices.
    """
    algorithm, seeds, remedies = remedy_cases.CASES[name]
    case = cases_lib.Case(algorithm, seeds=seeds, rows=DATA)
    config = cases_lib.load(case, CONFIGS)
    task = parts_lib.resolve_task(config)
    data = synthetic.file(folder, task, case.rows)
    config = cases_lib.load(case, CONFIGS, data)
    prepared = programs.prepare(case, config, programs.load(config))
    flops = programs.flops(prepared)
    chunk = programs.chunk_of(flops, 1e9 * gflops, SECONDS.value)
    del prepared
    wanted = [(remedy, case, remedy.chunk or chunk) for remedy in remedies]
    if seeds > 1:
        alone = dataclasses.replace(case, seeds=1)
        longest = min(chunk * seeds, schedule.LONGEST_CHUNK)
        wanted.append((remedy_cases.Remedy("one seed"), alone, longest))
    with contextlib.ExitStack() as stack, futures.ThreadPoolExecutor(2) as threads:
        # Two at a time: a compiler keeps one core busy.
        workers = list(threads.map(lambda one: Worker(*one, data), wanted))
        for worker in workers:
            stack.callback(worker.close)
        runners = list(workers)
        if seeds == 1:
            size = config.offline.batch_size
            runners.append(baseline.Baseline(case, task, size, measures.cores()))
            stack.callback(runners[-1].close)
        rates = [[] for _ in runners]
        for _ in range(1 + REPEATS.value):  # The first warms up.
            for runner, found in zip(runners, rates, strict=True):
                found.append(runner.rate(SECONDS.value))
    rates = [found[1:] for found in rates]
    rows = [worker.describe(workers[0]) for worker in workers]
    if seeds == 1:
        rows.append({"remedy": "PyTorch"})
    for row, found in zip(rows, rates, strict=True):
        row["updates_per_second"] = repeats.summarize(found)
        row["over_shipped"] = repeats.ratios(found, rates[0])
        row["over_reference"] = repeats.ratios(found, rates[-1])
    return rows


def keep(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes the cases as JSON, and as tables beside it."""
    files.write_json(path, report)
    texts = ["# Remedies"]
    for name, case in report.items():
        about = machine.text(case["machine"])
        texts += [
            f"## {name}",
            tables.table(COLUMNS, case["rows"]),
            f"Command: `{case['command']}`",
            f"{about}; load {case['load']}; {case['repeats']} turns",
        ]
    files.replace(path.with_suffix(".md"), ("\n\n".join(texts) + "\n").encode())


def main(argv: list[str]) -> None:
    """Measures the cases, one after the other; keeps each when it is finished."""
    del argv
    logs.quiet_libraries()
    if SERVE.value:
        serve(json.loads(SERVE.value))
        return
    try:
        cases_lib.check_names("cases", CHOSEN.value, list(remedy_cases.CASES))
        baseline.check("torch")
        measures.limit(THREADS.value)
    except ValueError as error:
        sys.exit(f"error: {error}")
    path = OUT.value and pathlib.Path(OUT.value)
    report = json.loads(path.read_text()) if path and path.exists() else {}
    gflops = matmul.machine_peak()
    for name in CHOSEN.value:
        load = round(os.getloadavg()[0], 2)
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(name, pathlib.Path(folder), gflops)
        report[name] = {
            "command": shlex.join(["python", *sys.argv]),
            "machine": machine.describe(),
            "load": load,
            "repeats": REPEATS.value,
            "rows": rows,
        }
        print(f"{name}\n\n{tables.table(COLUMNS, rows)}\n", flush=True)
        if path:
            keep(path, report)


if __name__ == "__main__":
    command_line.run(main)
