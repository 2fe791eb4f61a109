"""The setup of a measurement: processor, versions, commit."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping

import jax

import samg_jax

PACKAGES = ("jax", "flax", "optax", "mujoco", "gymnasium", "numpy")


def describe() -> dict[str, str]:
    """Collect names and values, such as `{"processor": ..., "jax": ...}`.

    They do not identify the machine: no host, no user, no path.
    """
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "devices": ", ".join(sorted({d.device_kind for d in jax.devices()})),
        "python": platform.python_version(),
        "samg_jax": samg_jax.__version__,
        "commit": commit_of(pathlib.Path(samg_jax.__file__).parent),
        **versions(*PACKAGES),
    }


def text(about: Mapping[str, str]) -> str:
    """One line for a description by `describe`, or read from a report."""
    return "Machine: " + "; ".join(f"{name} {value}" for name, value in about.items())


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each package."""
    return {name: importlib.metadata.version(name) for name in packages}


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit_of(folder: pathlib.Path) -> str:
    """The short hash of a checkout; `unknown` for an installed package."""
    # Results of earlier measurements are no change of what is measured.
    code = ["--", ":/", ":(top,exclude)launch/results"]
    commands = [["rev-parse", "--short", "HEAD"], ["status", "--porcelain", *code]]
    try:
        named, changed = (
            subprocess.run(
                ["git", *command],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            for command in commands
        )
    except FileNotFoundError:  # There is no git.
        return "unknown"
    if named.returncode:
        return "unknown"
    return named.stdout.strip() + ("-dirty" if changed.stdout else "")
