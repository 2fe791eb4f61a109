"""The online replay buffer: a ring of transitions on the device.

The number of transitions ever inserted is not part of the buffer: all seeds insert in
step, so it stays one shared scalar and the write one slice under `jax.vmap`.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from samg_jax.types import Batch


def create(capacity: int, observation_size: int, action_size: int) -> Batch:
    """Returns an empty buffer: a `Batch` with a leading axis of `capacity`."""
    return Batch(
        observations=jnp.zeros((capacity, observation_size)),
        actions=jnp.zeros((capacity, action_size)),
        rewards=jnp.zeros(capacity),
        next_observations=jnp.zeros((capacity, observation_size)),
        masks=jnp.zeros(capacity),
        mc_returns=jnp.zeros(capacity),
        weights=jnp.zeros(capacity),
    )


def insert(buffers: Batch, transitions: Batch, count: jax.Array) -> Batch:
    """Returns the buffers of all seeds, each with a transition in place of its oldest.

    Args:
        buffers: from `create`, stacked: `[S, capacity, ...]`.
        transitions: one per seed, `[S, ...]`.
        count: `[]` number of transitions inserted before this one.
    """
    position = count % buffers.rewards.shape[1]
    return jax.tree.map(
        lambda rows, row: jax.lax.dynamic_update_slice_in_dim(
            rows, row[:, None], position, axis=1
        ),
        buffers,
        transitions,
    )


def size(buffer: Batch, count: jax.Array) -> jax.Array:
    """Returns how many transitions the buffer holds, `[]`."""
    return jnp.minimum(count, buffer.rewards.shape[0])


def sample(
    buffer: Batch, count: jax.Array, key: chex.PRNGKey, batch_size: int
) -> Batch:
    """Returns transitions drawn uniformly with replacement.

    Args:
        buffer: from `create`.
        count: `[]` number of transitions inserted so far, at least 1.
        key: consumed.
        batch_size: `B`.
    """
    indices = jax.random.randint(key, (batch_size,), 0, size(buffer, count))
    return take(buffer, indices)


def newest(buffer: Batch, count: jax.Array, number: int) -> Batch:
    """Returns the last `number` transitions, the newest first.

    Args:
        buffer: from `create`.
        count: `[]` number of transitions inserted so far; where it is less than
            `number`, the rest are not meant to be read.
        number: at most the capacity.
    """
    return take(buffer, (count - 1 - jnp.arange(number)) % buffer.rewards.shape[0])


def take(rows: Batch, indices: jax.Array) -> Batch:
    """Returns the transitions at `indices`, `[B]`."""
    return jax.tree.map(lambda leaf: leaf[indices], rows)
