"""Several seeds as one batch: keys, the one `jax.vmap`, and seeds that fail.

Every draw derives from the seed's value, the stream's name and the step, never from
the seed's place in the batch: seed 3 of eight is seed 3 alone. No key is stored, so a
resumed run draws what it would have drawn.
"""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import chex
import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.types import Metrics, ModelState

T = TypeVar("T")

# Counters of an algorithm's updates: the same for all seeds, so they are shared.
COUNTERS = ("step", "online_step")


def stream(seed: jax.Array, name: str, *counters: jax.Array | int) -> chex.PRNGKey:
    """Returns the key of a named stream of one seed.

    Args:
        seed: `[]` the seed's value.
        name: of the stream, such as `"offline"`.
        *counters: `[]` each, such as the step.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    for counter in counters:
        key = jax.random.fold_in(key, counter)
    return key


def host_seeds(values: np.ndarray, name: str, count: int = 1) -> list[int]:
    """Returns `count` seeds for simulators for every seed, seed by seed.

    Args:
        values: `[S]` the seeds' values.
        name: of the stream.
        count: simulators per seed.
    """

    def draw(seed):
        return jax.random.bits(stream(seed, name), (count,), jnp.uint32) >> 1

    return [int(bits) for bits in np.asarray(jax.vmap(draw)(values)).ravel()]


def is_counter(path: Any) -> bool:
    """Returns whether a path in a state leads to a counter of updates."""
    return getattr(path[-1], "name", None) in COUNTERS


def axes(tree: Any) -> Any:
    """Returns the `jax.vmap` axes of a state: 0, and None for update counters.

    Counters are shared by all seeds, so that a `jax.lax.cond` on them stays a `cond`
    instead of computing both branches.
    """

    def axis(path, leaf):
        del leaf
        return None if is_counter(path) else 0

    return jax.tree_util.tree_map_with_path(axis, tree)


def share_steps(tree: T) -> T:
    """Returns a state stacked over seeds with its counters shared, `[]`."""

    def share(path, leaf):
        return leaf[0] if is_counter(path) else leaf

    return jax.tree_util.tree_map_with_path(share, tree)


def select(tree: T, indices: np.ndarray) -> T:
    """Returns the state of some of the seeds; `indices` are places in the batch."""
    return jax.tree.map(
        lambda leaf, axis: leaf if axis is None else leaf[indices],
        tree,
        axes(tree),
        is_leaf=lambda leaf: leaf is None,
    )


def guard(old: T, new: T, metrics: Metrics, alive: jax.Array) -> tuple[T, jax.Array]:
    """Returns `new` while everything is finite, else `old`; and whether it is `new`.

    Looks at the metrics, which hold the losses, and at every trained parameter. A
    seed that failed once stays as it was.

    Args:
        old: state before the update, of one seed.
        new: state after it.
        metrics: of the update.
        alive: `[]` whether the seed was finite so far.
    """
    is_model = lambda node: isinstance(node, ModelState)  # noqa: E731
    models = [node for node in jax.tree.leaves(new, is_leaf=is_model) if is_model(node)]
    watched = jax.tree.leaves((list(metrics.values()), [m.params for m in models]))
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in watched])
    alive = alive & jnp.all(finite)

    def choose(path, before, after):
        if is_counter(path):
            return after  # Shared by the seeds, so it goes on.
        return jnp.where(alive, after, before)

    return jax.tree_util.tree_map_with_path(choose, old, new), alive
