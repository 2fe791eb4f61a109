"""Quantiles of p_int over the offline data, for a threshold and for the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.guidance import normals

REPORTED_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
GRID_LEVELS = np.linspace(0.0, 1.0, 1001)  # Levels of the saved quantiles.


def offline_probabilities(
    fn: Callable[..., jax.Array],
    weight: Any,
    *columns: jax.Array,
    batch_size: int = 16_384,
) -> np.ndarray:
    """p_int of all offline rows, `[..., M]`, on the host.

    Args:
        fn: A function `(weight, *columns [b, ...]) -> p_int [..., b]`, with leading
            axes if it is mapped over seeds.
        weight: The first argument of `fn`.
        *columns: `[M, ...]` each, raw, such as observations and actions.
        batch_size: The number of rows per call of `fn`.
    """
    batches = normals.in_batches(fn, weight, *columns, batch_size=batch_size)
    return np.concatenate(list(batches), axis=-1)


def grid(p_int: np.ndarray) -> np.ndarray:
    """Quantiles of `[..., M]` at `GRID_LEVELS`, `[..., 1001]`.

    They yield a threshold for any level, without the data.
    """
    values = np.quantile(p_int, GRID_LEVELS, axis=-1)
    return np.moveaxis(values, 0, -1).astype(np.float32)


def at(grid: jax.Array, level: jax.Array | float) -> jax.Array:
    """One quantile `[]` of a grid `[1001]`, interpolated between its levels.

    A threshold at a quantile suits any kind of p_int: the absolute scale of p_int
    depends on the kind, the fit and the action size.
    """
    return jnp.interp(level, GRID_LEVELS, grid)


def report(p_int: np.ndarray) -> dict[str, np.ndarray]:
    """Quantiles of probabilities `[..., M]` for the log, `[...]` each."""
    values = np.quantile(p_int, REPORTED_LEVELS, axis=-1)
    return {
        f"p_int_q{round(100 * level):02d}": value
        for level, value in zip(REPORTED_LEVELS, values, strict=True)
    }
