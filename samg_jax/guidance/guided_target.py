"""The guided target: online and frozen offline values, blended per sample."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from samg_jax.types import Guide, Params, PerSampleFn


def blend(online: jax.Array, offline: jax.Array, weights: jax.Array) -> jax.Array:
    """`(1 - weights) * online + weights * offline`, exact at both ends.

    A weight of 0 gives `online` bit for bit, and a weight of 1 gives `offline` bit for
    bit, even if the other side is infinite: the frozen model cannot spoil a sample that
    is not guided. SAMG (2024), Eq. 4.

    Args:
        online: `[B]`.
        offline: `[B]`.
        weights: `[B]` in [0, 1].

    Returns:
        `[B]`.
    """
    chex.assert_rank([online, offline, weights], 1)
    chex.assert_equal_shape([online, offline, weights])
    mixed = (1.0 - weights) * online + weights * offline
    # A product with 0 is NaN if the other factor is infinite, so both ends select.
    mixed = jnp.where(weights == 1.0, offline, mixed)
    return jnp.where(weights == 0.0, online, mixed)


def make_guide(offline: Params, weights: jax.Array) -> Guide:
    """Make the guide toward the values under the parameters `offline`.

    The guided function may be mapped over further inputs, such as several sampled
    actions per observation; each of them gets the same weights. No gradient reaches
    `offline` or `weights`. Weights of 0 learn what `types.unguided` learns, up to
    rounding, because the two are different programs.

    Args:
        offline: The frozen value parameters, with the structure of the online ones.
        weights: `[B]`, p(s, a) times the strength of the guidance.
    """
    chex.assert_rank(weights, 1)
    offline = jax.lax.stop_gradient(offline)
    weights = jax.lax.stop_gradient(weights)

    def guide(fn: PerSampleFn) -> PerSampleFn:
        def guided(params: Params, *inputs: jax.Array) -> jax.Array:
            return blend(fn(params, *inputs), fn(offline, *inputs), weights)

        return guided

    return guide
