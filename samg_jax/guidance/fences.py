"""Values that a compiler computes apart from whatever reads them."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


@jax.custom_vjp
def fence(values: jax.Array) -> jax.Array:
    """Returns `values` as they are, not fused into what reads them.

    XLA may sum a fused expression in another order, so that what is learned would
    depend, in last bits, on how equal values were made. On a CPU its own barrier is
    taken away before anything is fused, but the boundary of a loop is kept whose number
    of turns is data. Elsewhere, where such a loop would wait for the host, it is XLA's
    barrier. The gradient passes through unchanged.

    Args:
        values: `[B]`.
    """
    chex.assert_rank(values, 1)
    return jax.lax.platform_dependent(
        values, cpu=_loop, default=jax.lax.optimization_barrier
    )


def _loop(values):
    turns = jnp.int32(jnp.isfinite(values[0]))  # Of any number the result is the same.

    def body(turn, held):
        return jnp.where(turn < 0, 0.0, held)  # The identity, which XLA cannot see.

    return jax.lax.fori_loop(0, turns, body, values)


def _forward(values):
    return fence(values), None


def _backward(_, gradient):
    return (gradient,)


fence.defvjp(_forward, _backward)
