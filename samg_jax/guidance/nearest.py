"""The distance of a latent to the nearest offline latent, as a probability.

This goes beyond the paper. A normal over the latents, per dimension or joint, finds
everything between familiar pairs familiar, such as the inside of the ring that a gait
forms. The distance to the nearest of many stored latents does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

REFERENCES = 8_192  # K by default, the number of stored latents.
PROBES = 2_048  # P, the number of offline pairs that define a usual distance.
LEAST = 2 * PROBES  # The least K; with fewer, each reference lies beside a probe.
ROWS_PER_REFERENCE = 8  # The most offline pairs averaged into a reference.
ROWS_AT_ONCE = 256


class Codes(struct.PyTreeNode):
    """Centers of the latents of offline pairs.

    Attributes:
        codes: `[K, Z]` centers, each the average of nearby latent means.
        distances: `[P]` distances of other offline pairs to the nearest center,
            ascending.
    """

    codes: jax.Array
    distances: jax.Array


def empty(latent_size: int, references: int = REFERENCES) -> Codes:
    """Zeros with the shapes of a fit; `references` is K, or 0 for no centers.

    Without centers there is still one row, as Orbax saves no empty arrays.
    """
    return Codes(
        codes=jnp.zeros((max(references, 1), latent_size)),
        distances=jnp.zeros(PROBES),
    )


def fit(
    encode: Callable[..., tuple[jax.Array, jax.Array]],
    params: Any,
    observations: jax.Array,
    actions: jax.Array,
    rows: np.ndarray | jax.Array | None = None,
    stored: int = REFERENCES,
) -> Codes:
    """Fit the centers to the latents of the offline data.

    The centers start at the latents of pairs spread evenly over the data; one step of
    k-means (Lloyd, 1982) over more pairs then moves them. Averages lie nearer than
    single latents to pairs that are not stored. The latent means keep their scale:
    dividing each dimension by its standard deviation would give dimensions that the KL
    term has emptied as much influence as all others.

    For several seeds, pass an `encode` mapped over stacked params; each leaf of the
    result then has their leading axis.

    Args:
        encode: A function `(params, observations, actions) -> (means, stds)`.
        params: The parameters of the encoder.
        observations: `[M, O]` raw.
        actions: `[M, A]`.
        rows: The rows to choose from, None for all. They must not include held-out
            rows: no pair is nearer to a pair than itself.
        stored: K, at least `LEAST`.
    """
    rows = np.arange(len(observations)) if rows is None else np.asarray(rows)
    code = jax.jit(lambda *inputs: encode(*inputs)[0])
    references, members, probes = (
        np.asarray(code(params, observations[chosen], actions[chosen]))
        for chosen in (rows[places] for places in spread(len(rows), stored))
    )
    seeds = references.shape[:-2]
    flat = (x.reshape(-1, *x.shape[-2:]) for x in (references, members, probes))
    found = [_fit_one(*codes) for codes in zip(*flat, strict=True)]
    return jax.tree.map(lambda *x: jnp.stack(x).reshape(*seeds, *x[0].shape), *found)


def spread(
    count: int, stored: int = REFERENCES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evenly spread row indices `[K]`, `[L]` and `[P]` among `count` rows.

    The centers start at the first. The second are the first and up to
    `ROWS_PER_REFERENCE` times as many, which are averaged into the centers. The third
    are the probes. Each probe lies half-way between two of the first, and none of the
    second is nearer to it: probes stay as far as possible from the rows that measure
    them. If rows are few, some indices repeat.
    """
    half = max(count // 2, 1)
    even = 2 * np.linspace(0, half - 1, stored).astype(np.int64)
    # Centers start at even rows and probes lie at odd ones, unless rows are few.
    gap = (count // stored // 2) | 1
    odd = even[np.arange(PROBES) * stored // PROBES] + gap
    odd = np.minimum(odd, min(max(2 * half - 1, 0), count - 1))
    dense = np.linspace(0, count - 1, ROWS_PER_REFERENCE * stored).astype(np.int64)
    after = np.searchsorted(odd, dense)
    below, above = odd[np.maximum(after - 1, 0)], odd[np.minimum(after, PROBES - 1)]
    distant = np.minimum(np.abs(dense - below), np.abs(dense - above)) >= gap
    return even, np.union1d(even, dense[distant]), odd


def probabilities(means: jax.Array, codes: Codes) -> jax.Array:
    """The share of offline pairs at least as far from the centers, `[B]`.

    Args:
        means: `[B, Z]` latent means of the pairs.
        codes: The fitted centers.
    """
    distances = _distances(codes.codes, means)
    nearer = jnp.searchsorted(codes.distances, distances, side="left")
    p = 1.0 - nearer / codes.distances.shape[0]
    # A minimum can hide NaN, and a NaN must look neither near nor far.
    broken = jnp.isnan(means).any(axis=-1) | jnp.isnan(codes.codes).any()
    return jnp.where(broken, jnp.nan, p)


@jax.jit
def _fit_one(references, members, probes):
    codes = _centers(references, members)
    return Codes(codes, jnp.sort(_distances(codes, probes)))


def _centers(codes, rows):
    """The average of the rows nearest to each center; one without rows stays."""
    places = jax.lax.map(_finder(codes), rows, batch_size=ROWS_AT_ONCE)
    counts = jnp.zeros(len(codes)).at[places].add(1.0)[:, None]
    sums = jnp.zeros_like(codes).at[places].add(rows)
    return jnp.where(counts > 0, sums / jnp.maximum(counts, 1.0), codes)


def _distances(codes, rows):
    # The difference keeps its precision, unlike the products that find the nearest.
    find = _finder(codes)

    def one(row):
        return jnp.linalg.norm(codes[find(row)] - row)

    return jax.lax.map(one, rows, batch_size=ROWS_AT_ONCE)


def _finder(codes):
    """A function from a row to its nearest center's index; mapped, one matmul."""
    # |code - row|^2 is |code|^2 - 2 code.row up to a constant of the row. Both are
    # centered, so that float32 does not lose the difference in the size.
    center = codes.mean(axis=0)
    half_squares = 0.5 * jnp.sum(jnp.square(codes - center), axis=-1)
    return lambda row: jnp.argmin(half_squares - (codes - center) @ (row - center))
