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

REFERENCES = 8_192  # K: stored codes; fixed, so that every state has the same shapes.
PROBES = 2_048  # P: offline pairs whose distances say what is usual.
ROWS_AT_ONCE = 256
SMALLEST_SCALE = 1e-6  # As for the normals: a dimension that never moves.


class Codes(struct.PyTreeNode):
    """Latent codes of offline pairs, spread evenly over the data.

    Attributes:
        codes: `[K, Z]` latent means, in units of `scale`.
        scale: `[Z]` their standard deviation.
        distances: `[P]` of further offline pairs to the nearest of them, ascending.
    """

    codes: jax.Array
    scale: jax.Array
    distances: jax.Array


def empty(latent_size: int) -> Codes:
    """Returns zeros of the right shapes."""
    return Codes(
        codes=jnp.zeros((REFERENCES, latent_size)),
        scale=jnp.zeros(latent_size),
        distances=jnp.zeros(PROBES),
    )


def fit(
    encode: Callable[..., tuple[jax.Array, jax.Array]],
    params: Any,
    observations: jax.Array,
    actions: jax.Array,
    rows: np.ndarray | jax.Array | None = None,
) -> Codes:
    """Returns the codes of offline data.

    For several seeds pass an `encode` mapped over stacked params: each leaf of the
    result then has their leading axis.

    Args:
        encode: `(params, observations, actions) -> (means, stds)`.
        params: of the encoder.
        observations: `[M, O]` raw.
        actions: `[M, A]`.
        rows: to choose from, None for all; those held out must not be among them, as
            nothing is as near to a pair as itself.
    """
    rows = np.arange(len(observations)) if rows is None else np.asarray(rows)
    references, probes = (rows[places] for places in spread(len(rows)))
    code = jax.jit(lambda *inputs: encode(*inputs)[0])
    near = np.asarray(code(params, observations[references], actions[references]))
    other = np.asarray(code(params, observations[probes], actions[probes]))
    scale = np.maximum(near.std(axis=-2, dtype=np.float64), SMALLEST_SCALE)
    near, other = (x / scale[..., None, :] for x in (near, other))
    distances = jax.jit(_distances)
    seeds = near.reshape(-1, *near.shape[-2:]), other.reshape(-1, *other.shape[-2:])
    found = [
        distances(jnp.float32(a), jnp.float32(b)) for a, b in zip(*seeds, strict=True)
    ]
    found = np.sort(np.stack(found)).reshape(*near.shape[:-2], PROBES)
    return Codes(*(jnp.asarray(x, jnp.float32) for x in (near, scale, found)))


def spread(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns places `[K]` and `[P]` of `count` rows, evenly spread and disjoint.

    The latter lie half-way between two of the former, so that they are no nearer to
    them than they must be. Few rows are taken several times.
    """
    half = max(count // 2, 1)
    even = 2 * np.linspace(0, half - 1, REFERENCES).astype(np.int64)
    gap = (count // REFERENCES // 2) | 1
    odd = even[:: REFERENCES // PROBES][:PROBES] + gap
    last = max(2 * half - 1, 0)
    return even, np.minimum(odd, min(last, count - 1))


def probabilities(means: jax.Array, codes: Codes) -> jax.Array:
    """Returns the share of offline pairs at least as far from the rest, `[B]`.

    Args:
        means: `[B, Z]` latent means of the pairs.
        codes: fitted.
    """
    distances = _distances(codes.codes, means / codes.scale)
    nearer = jnp.searchsorted(codes.distances, distances, side="left")
    p = 1.0 - nearer / codes.distances.shape[0]
    # A minimum may pass over NaN; what is not a number must not pass for near or far.
    broken = jnp.isnan(means).any(axis=-1) | jnp.isnan(codes.codes).any()
    return jnp.where(broken, jnp.nan, p)


def _distances(codes: jax.Array, rows: jax.Array) -> jax.Array:
    # Which one is nearest is found by a matrix product, in blocks of rows; how far it
    # is, by the difference, which keeps its precision.
    centre = codes.mean(axis=0)
    half_squares = 0.5 * jnp.sum(jnp.square(codes - centre), axis=-1)

    def one(row):
        place = jnp.argmin(half_squares - (codes - centre) @ (row - centre))
        return jnp.linalg.norm(codes[place] - row)

    return jax.lax.map(one, rows, batch_size=ROWS_AT_ONCE)
