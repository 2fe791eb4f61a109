"""Settings of JAX and of its compiler that all programs share."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile

import jax

from samg_jax import checks, jax_settings, logs, startup

DEFAULT_CACHE = startup.DEFAULT_CACHE
# Our name for the precision of float32 matrix products -> JAX's name. The last one is
# named by its algorithm: JAX's "bfloat16" means the fastest, on NVIDIA GPUs TF32.
PRECISIONS = {
    "float32": "float32",
    "tensorfloat32": "tensorfloat32",
    "bfloat16": "BF16_BF16_F32",
}
DEFAULT_PRECISION = "float32"  # JAX's own default depends on the device.

NEVER = 1e12  # Seconds; no program takes that long to compile.
check = jax_settings.check


def start() -> None:
    """Starts JAX's devices; refuses settings that prevent it."""
    check()
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError, ValueError) as error:
        # JAX raises AssertionError for a platform whose plugin is not installed, and
        # ValueError for, among others, a memory fraction that is not a number.
        given = jax_settings.device_variables()
        if not given:
            raise
        raise checks.UserError(startup.wrong_devices(given, str(error))) from error
    startup.begin()


def use_cache(folder: str) -> None:
    """Keeps compiled programs between runs in `folder`; an empty name keeps none.

    JAX_COMPILATION_CACHE_DIR takes precedence over `folder`. A folder that is not
    writable is only read; without one, every run compiles its programs.
    """
    check()
    given = jax.config.jax_compilation_cache_dir
    if not (given or folder):
        return
    try:
        path = pathlib.Path(given or folder).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home.
        reason = getattr(error, "strerror", None) or error
        text = (
            f"Compiled programs are not kept: {given or folder!r} cannot be written to "
            f"({reason}). Every run compiles them again. Set config.compilation_cache "
            "to another folder, or to nothing."
        )
        logs.LOGGER.warning(checks.with_flags(text))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", NEVER)
        return
    if not given:
        jax.config.update("jax_compilation_cache_dir", str(path))


def matmul_precision(name: str) -> contextlib.AbstractContextManager:
    """A context in which JAX compiles programs for the given precision.

    All precisions sum in float32. A CPU computes all three in float32.

    Args:
        name: A key of `PRECISIONS`.

    Raises:
        checks.UserError: JAX is set to what this package is not written for.
    """
    check()
    return jax.default_matmul_precision(PRECISIONS[name])
