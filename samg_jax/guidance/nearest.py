"""The distance of a latent code to the nearest offline code, and its probability.

Beyond the paper. A normal over the latent code, per dimension or joint, calls
everything familiar that lies between familiar pairs, such as the inside of the ring
that a gait is; the nearest of many stored codes does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

REFERENCES = 8_192  # K by default: stored codes.
PROBES = 2_048  # P: offline pairs whose distances say what is usual.
LEAST = 2 * PROBES  # References: else every one lies beside a probe.
ROWS_PER_REFERENCE = 8  # Offline pairs that are averaged into each, at most.
ROWS_AT_ONCE = 256


class Codes(struct.PyTreeNode):
    """Centers of the latent codes of offline pairs.

    Attributes:
        codes: `[K, Z]` each the average of latent means that are near to each other.
        distances: `[P]` of further offline pairs to the nearest of them, ascending.
    """

    codes: jax.Array
    distances: jax.Array


def empty(latent_size: int, references: int = REFERENCES) -> Codes:
    """Returns zeros of the right shapes; `references` is K, or 0 for no codes.

    These are one row then, as Orbax saves no array without elements.
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
    """Returns the codes of offline data.

    Codes of pairs spread evenly over the data, after one step of k-means (Lloyd, 1982)
    over more of them: centers lie nearer to what was not stored than single codes do.
    The latent means keep their scale. To divide each dimension by its standard
    deviation would give those that the KL term has emptied the same say as all others.

    For several seeds pass an `encode` mapped over stacked params: each leaf of the
    result then has their leading axis.

    Args:
        encode: `(params, observations, actions) -> (means, stds)`.
        params: of the encoder.
        observations: `[M, O]` raw.
        actions: `[M, A]`.
        rows: to choose from, None for all; those held out must not be among them, as
            nothing is as near to a pair as itself.
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
    """Returns places `[K]`, `[L]` and `[P]` of `count` rows, each evenly spread.

    The first are where the centers start. The second, these and up to
    `ROWS_PER_REFERENCE` times as many, are averaged into them. The third are the
    probes: half-way between two of the first, and none of the second is nearer, so
    that they are as far as can be from what they are measured by. Few rows are taken
    several times.
    """
    half = max(count // 2, 1)
    even = 2 * np.linspace(0, half - 1, stored).astype(np.int64)
    gap = (count // stored // 2) | 1
    odd = even[np.arange(PROBES) * stored // PROBES] + gap
    odd = np.minimum(odd, min(max(2 * half - 1, 0), count - 1))
    dense = np.linspace(0, count - 1, ROWS_PER_REFERENCE * stored).astype(np.int64)
    after = np.searchsorted(odd, dense)
    below, above = odd[np.maximum(after - 1, 0)], odd[np.minimum(after, PROBES - 1)]
    distant = np.minimum(np.abs(dense - below), np.abs(dense - above)) >= gap
    return even, np.union1d(even, dense[distant]), odd


def probabilities(means: jax.Array, codes: Codes) -> jax.Array:
    """Returns the share of offline pairs at least as far from the rest, `[B]`.

    Args:
        means: `[B, Z]` latent means of the pairs.
        codes: fitted.
    """
    distances = _distances(codes.codes, means)
    nearer = jnp.searchsorted(codes.distances, distances, side="left")
    p = 1.0 - nearer / codes.distances.shape[0]
    # A minimum may pass over NaN; what is not a number must not pass for near or far.
    broken = jnp.isnan(means).any(axis=-1) | jnp.isnan(codes.codes).any()
    return jnp.where(broken, jnp.nan, p)


@jax.jit
def _fit_one(references, members, probes):
    codes = _centers(references, members)
    return Codes(codes, jnp.sort(_distances(codes, probes)))


def _centers(codes, rows):
    """Returns the average of the rows nearest to each code; one without rows stays."""
    places = jax.lax.map(_finder(codes), rows, batch_size=ROWS_AT_ONCE)
    counts = jnp.zeros(len(codes)).at[places].add(1.0)[:, None]
    sums = jnp.zeros_like(codes).at[places].add(rows)
    return jnp.where(counts > 0, sums / jnp.maximum(counts, 1.0), codes)


def _distances(codes, rows):
    # By the difference, not by the products, so that it keeps its precision.
    find = _finder(codes)

    def one(row):
        return jnp.linalg.norm(codes[find(row)] - row)

    return jax.lax.map(one, rows, batch_size=ROWS_AT_ONCE)


def _finder(codes):
    """Returns `row -> place of the nearest code`; mapped, it is a matrix product."""
    center = codes.mean(axis=0)
    half_squares = 0.5 * jnp.sum(jnp.square(codes - center), axis=-1)
    return lambda row: jnp.argmin(half_squares - (codes - center) @ (row - center))
