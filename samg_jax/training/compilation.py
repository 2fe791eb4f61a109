"""Settings of JAX's compiler that all programs share."""

from __future__ import annotations

import contextlib
import pathlib

import jax
import ml_collections

DEFAULT_CACHE = "~/.cache/samg_jax"
# Our name of how products of float32 matrices are computed -> JAX's. The last by its
# algorithm: JAX's "bfloat16" is whatever is fastest, on NVIDIA's cards TF32.
PRECISIONS = {
    "float32": "float32",
    "tensorfloat32": "tensorfloat32",
    "bfloat16": "BF16_BF16_F32",
}
DEFAULT_PRECISION = "float32"  # JAX's own default depends on the device.


def use_cache(folder: str) -> None:
    """Keeps compiled programs between runs, in `folder`; nowhere if it is empty."""
    if folder and not jax.config.jax_compilation_cache_dir:
        path = pathlib.Path(folder).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(path))


def matmul_precision(name: str) -> contextlib.AbstractContextManager:
    """Returns the context in which programs are compiled for that precision.

    Sums are in float32 with all of them. A processor computes all three in float32.

    Args:
        name: of `PRECISIONS`.
    """
    return jax.default_matmul_precision(PRECISIONS[name])


def precision_of(config: ml_collections.ConfigDict) -> str:
    """Returns the precision of a run's config; those of earlier versions do not say."""
    return config.get("matmul_precision", DEFAULT_PRECISION)
