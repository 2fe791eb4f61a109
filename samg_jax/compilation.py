"""Settings of JAX and of its compiler that all programs share."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile

import jax
import ml_collections

from samg_jax import checks, jax_settings, logs, startup

DEFAULT_CACHE = startup.DEFAULT_CACHE
# Our name of how products of float32 matrices are computed -> JAX's. The last by its
# algorithm: JAX's "bfloat16" is whatever is fastest, on NVIDIA's cards TF32.
PRECISIONS = {
    "float32": "float32",
    "tensorfloat32": "tensorfloat32",
    "bfloat16": "BF16_BF16_F32",
}
DEFAULT_PRECISION = "float32"  # JAX's own default depends on the device.

NEVER = 1e12  # Seconds that no program takes to compile.
check = jax_settings.check


def start() -> None:
    """Starts JAX's devices; refuses settings with which that is impossible."""
    check()
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError, ValueError) as error:
        # JAX raises the second for a platform whose plugin is not installed, and the
        # third for a share of memory, for example, that is no number.
        given = jax_settings.device_variables()
        if not given:
            raise
        raise checks.UserError(startup.wrong_devices(given, str(error))) from error
    startup.begin()


def use_cache(folder: str) -> None:
    """Keeps compiled programs between runs, in `folder`; nowhere if it is empty.

    JAX_COMPILATION_CACHE_DIR wins over the folder. One that cannot be written to is
    only read; without it programs are compiled once per run.
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
    except (OSError, RuntimeError) as error:  # The second without a home.
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
    """Returns the context in which programs are compiled for that precision.

    Sums are in float32 with all of them. A processor computes all three in float32.

    Args:
        name: of `PRECISIONS`.

    Raises:
        checks.UserError: JAX is set to what this package is not written for.
    """
    check()
    return jax.default_matmul_precision(PRECISIONS[name])


def precision_of(config: ml_collections.ConfigDict) -> str:
    """Returns the precision of a run's config; those of earlier versions do not say."""
    return config.get("matmul_precision", DEFAULT_PRECISION)
