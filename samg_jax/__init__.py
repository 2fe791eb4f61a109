"""SAMG and its baselines: offline-to-online reinforcement learning in JAX."""

import importlib
import os

# XLA calls LAPACK from its own threads; where OpenBLAS starts threads in each of them,
# they wait for one another for minutes on a small machine. Must be set before JAX is
# imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from samg_jax import checks, process

if process.is_program():
    process.open_missing()
    with checks.program():
        process.import_jax()

if os.environ.get("MUJOCO_GL"):
    try:
        importlib.import_module("mujoco")
    except Exception as error:  # Whatever the library of that backend raises.
        _TEXT = (
            f"MuJoCo cannot be imported with MUJOCO_GL={os.environ['MUJOCO_GL']}: "
            f"{error}. Known are egl, osmesa and glfw, each with its library "
            "installed. Unset MUJOCO_GL: the first that works is chosen where a video "
            "is asked for."
        )
        if process.is_program():
            raise SystemExit(f"error: {_TEXT}") from error
        raise ImportError(_TEXT) from error

__version__ = "0.1.0"
