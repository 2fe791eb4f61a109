"""Batches for fine-tuning: from online data alone, or with the offline data."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from samg_jax.data import replay, transitions
from samg_jax.types import Batch


def make_sampler(
    data: str, batch_size: int, offline_share: float
) -> Callable[..., Batch]:
    """`(buffer, count, dataset, key) -> batch` for what fine-tuning trains on.

    Args:
        data: `buffer`, `append` or `mix`, see `experiment.spec.Online`.
        batch_size: The rows of a batch.
        offline_share: The offline share of a batch under `mix`.
    """

    def buffer_only(buffer, count, dataset, key):
        del dataset
        return replay.sample(buffer, count, key, batch_size)

    def append(buffer, count, dataset, key):
        stored = len(dataset.rewards)
        total = stored + replay.size(buffer, count)
        rows = jax.random.randint(key, (batch_size,), 0, total)
        # Both are read and one is kept: a gather is cheaper than one joint copy.
        old = as_batch(dataset, jnp.minimum(rows, stored - 1))
        new = replay.take(buffer, jnp.maximum(rows - stored, 0))
        is_old = rows < stored

        def choose(a, b):
            return jnp.where(jnp.expand_dims(is_old, range(1, a.ndim)), a, b)

        return jax.tree.map(choose, old, new)

    def mix(buffer, count, dataset, key):
        offline_rows = int(batch_size * offline_share)
        old_key, new_key = jax.random.split(key)
        rows = jax.random.randint(old_key, (offline_rows,), 0, len(dataset.rewards))
        old = as_batch(dataset, rows)
        new = replay.sample(buffer, count, new_key, batch_size - offline_rows)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), old, new)

    samplers: dict[str, Callable[..., Batch]] = {
        "buffer": buffer_only,
        "append": append,
        "mix": mix,
    }
    return samplers[data]


def as_batch(dataset: transitions.Dataset, indices: jax.Array) -> Batch:
    """Returns rows of the dataset as a raw batch, with weight 0."""
    rows = jax.tree.map(lambda leaf: leaf[indices], dataset)
    return Batch(
        observations=rows.observations,
        actions=rows.actions,
        rewards=rows.rewards,
        next_observations=rows.next_observations,
        masks=rows.masks,
        mc_returns=rows.mc_returns,
        weights=jax.numpy.zeros_like(rows.rewards),
    )
