"""Eager PyTorch as a baseline: `launch/torch_baseline.py` in a separate process."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys
from typing import Any

import jax

import samg_jax
from samg_jax import checks
from samg_jax.benchmarking.benchmark_cases import Case
from samg_jax.envs import tasks

NAMES = ("torch",)
ALGORITHMS = ("awac", "iql", "td3_bc", "cql")
SCRIPT = pathlib.Path(samg_jax.__file__).parents[1] / "launch" / "torch_baseline.py"


def check(name: str) -> None:
    """Refuses a baseline that cannot be run."""
    if name not in NAMES:
        raise checks.UserError(
            f"baseline is {name!r}. Allowed is {NAMES[0]!r}. Correct it, or "
            "leave it out."
        )
    if importlib.util.find_spec("torch") is None:
        raise checks.UserError(
            "baseline=torch needs PyTorch, which is not installed. It belongs to the "
            'extra `torch`. Install it: pip install -e ".[torch]".'
        )
    if not SCRIPT.is_file():
        raise checks.UserError(
            f"baseline=torch runs {SCRIPT.name} of the folder launch/, which an "
            "installed package does not have. Run from a checkout of the repository."
        )


def covers(case: Case) -> bool:
    """Whether the baseline implements the same update.

    CQL on AntMaze has deeper critics and other switches, which the baseline lacks.
    """
    same = case.algorithm in ALGORITHMS and case.phase == "offline"
    return same and (case.algorithm, case.family) != ("cql", "antmaze")


class Baseline:
    """A process that runs PyTorch updates on request, and waits otherwise.

    Attributes:
        version: the version of PyTorch.
    """

    def __init__(self, case: Case, task: tasks.Task, batch_size: int, threads: int):
        device = "cuda" if jax.default_backend() == "gpu" else "cpu"
        values = {
            "algorithm": case.algorithm,
            "observation_size": task.observation_size,
            "action_size": task.action_size,
            "batch_size": batch_size,
            "rows": case.rows,
            "threads": threads,
            "device": device,
        }
        flags = [f"--{name}={value}" for name, value in values.items()]
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--serve", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._read()["torch"]

    def rate(self, seconds: float) -> float:
        """Updates per second, measured over at least `seconds`.

        Raises:
            RuntimeError: The process has ended.
        """
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer = self._read()
        return answer["updates"] / answer["seconds"]

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RuntimeError(
                f"{SCRIPT.name} ended with status {code}; its message is above."
            )
        return json.loads(line)
