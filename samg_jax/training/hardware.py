"""The backend and the devices that JAX computes on, in words."""

from __future__ import annotations

import collections
import importlib.util
import os

import jax

from samg_jax import drivers

DRIVER_VARIABLE = drivers.VARIABLE
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
MIB_PER_GIB = 1024


def describe() -> str:
    """The devices of this process; starts JAX if it is not running.

    For example `1 CPU (no NVIDIA GPU found)` or `NVIDIA GeForce RTX 4090, 24 GB`.
    """
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        several = " devices" if len(devices) > 1 else ""
        return f"{len(devices)} CPU{several} ({_why_no_gpu()})"
    kinds = collections.Counter(device.device_kind for device in devices)
    sizes = _memory_of_gpus() if devices[0].platform == "gpu" else {}
    texts = []
    for kind, count in kinds.items():
        text = f"{count} x {kind}" if count > 1 else kind
        if kind in sizes:
            text += f", {sizes[kind]:.0f} GB"
        texts.append(text)
    return "; ".join(texts)


def warning() -> str:
    """Advice if JAX uses the CPU although a GPU may exist; else empty."""
    if jax.default_backend() != "cpu" or not drivers.exists() or _cpu_is_wanted():
        return ""
    installed = [name for name in PLUGINS if importlib.util.find_spec(name)]
    if installed:
        plugins = ", ".join(installed)
        cause = f"JAX's CUDA plugin ({plugins}) is installed, but has not started"
        advice = (
            "Look whether nvidia-smi lists a GPU, and what JAX_PLATFORMS=cuda says to "
            "the same command"
        )
    else:
        cause = "this JAX is the one for CPUs only"
        advice = (
            "Run bash launch/install.sh, which finds the driver, or add the extra "
            f'yourself: pip install -e ".[{drivers.extra()}]"'
        )
    return (
        f"There is an NVIDIA driver, but {cause}; everything is computed on the CPU. "
        f"{advice}. To compute on the CPU on purpose, set JAX_PLATFORMS=cpu."
    )


def _cpu_is_wanted() -> bool:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    # Some settings are not attributes of `jax.config`.
    given = jax.config.values
    named = given.get("jax_platforms") or given.get("jax_platform_name") or ""
    return hidden or "cpu" in named.split(",")


def _why_no_gpu() -> str:
    if not drivers.exists():
        return "no NVIDIA GPU found"
    if _cpu_is_wanted():
        return "as JAX_PLATFORMS or CUDA_VISIBLE_DEVICES says"
    return "there is an NVIDIA driver, but JAX does not use it"


def _memory_of_gpus() -> dict[str, float]:
    """The memory of the NVIDIA GPUs in GiB, by name; empty if unknown.

    JAX itself reports only the memory that it has reserved.
    """
    said = drivers.smi("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    found = {}
    for line in said.splitlines():
        name, _, size = line.rpartition(",")
        if size.strip().isdigit():
            found[name.strip()] = int(size) / MIB_PER_GIB
    return found
