"""Several seeds as one batch: keys, the one `jax.vmap`, and seeds that fail.

Every draw derives from the seed's value, the stream's name and the step, never from
the seed's index in the batch: seed 3 of eight equals seed 3 alone. No key is stored, so
a resumed run draws the numbers that it would have drawn.
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


def stream(seed: jax.Array, name: str, *counters: jax.Array | int) -> chex.PRNGKey:
    """The key of a named stream of one seed.

    Args:
        seed: `[]` the seed's value.
        name: The name of the stream, such as `"offline"`.
        *counters: `[]` each, such as the step.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    for counter in counters:
        key = jax.random.fold_in(key, counter)
    return key


def host_seeds(values: np.ndarray, name: str, count: int = 1) -> list[int]:
    """Seeds for `count` simulators of each seed, seed by seed.

    Args:
        values: `[S]` the seeds' values.
        name: The name of the stream.
        count: The number of simulators per seed.
    """

    def draw(seed):
        return jax.random.bits(stream(seed, name), (count,), jnp.uint32) >> 1

    return [int(bits) for bits in np.asarray(jax.vmap(draw)(values)).ravel()]


def shared(tree: Any) -> Any:
    """Whether all seeds share a leaf, for every leaf; see `types.shared`.

    Returns:
        A tree of the same structure with a bool at every leaf.
    """

    def is_shared(path, leaf):
        del leaf
        # The mark is on a field of some node above the leaf, so the path is walked from
        # the root.
        node = tree
        for key in path:
            match key:
                case jax.tree_util.GetAttrKey(name=name):
                    fields = getattr(node, "__dataclass_fields__", {})
                    if name in fields and fields[name].metadata.get("shared"):
                        return True
                    node = getattr(node, name)
                case jax.tree_util.DictKey(key=name):
                    node = node[name]
                case jax.tree_util.SequenceKey(idx=place):
                    node = node[place]
        return False

    return jax.tree_util.tree_map_with_path(is_shared, tree)


def axes(tree: Any) -> Any:
    """The `jax.vmap` axes of a state: 0, or None for a leaf that all seeds share."""
    return jax.tree.map(lambda one: None if one else 0, shared(tree))


def share_steps(tree: T) -> T:
    """A state stacked over seeds, with each shared leaf stored once, `[]`."""
    return jax.tree.map(lambda leaf, one: leaf[0] if one else leaf, tree, shared(tree))


def select(tree: T, indices: np.ndarray) -> T:
    """The state of some of the seeds; `indices` are their positions in the batch."""
    return jax.tree.map(
        lambda leaf, axis: leaf if axis is None else leaf[indices],
        tree,
        axes(tree),
        is_leaf=lambda leaf: leaf is None,
    )


def guard(old: T, new: T, metrics: Metrics, alive: jax.Array) -> tuple[T, jax.Array]:
    """Choose `new` while everything is finite, else `old`; also whether it is `new`.

    Checks the metrics, which include the losses, and every trained parameter. A seed
    that failed once keeps its state.

    Args:
        old: The state of one seed before the update.
        new: The state after the update.
        metrics: The metrics of the update.
        alive: `[]` whether the seed was finite so far.
    """
    is_model = lambda node: isinstance(node, ModelState)  # noqa: E731
    models = [node for node in jax.tree.leaves(new, is_leaf=is_model) if is_model(node)]
    watched = jax.tree.leaves((list(metrics.values()), [m.params for m in models]))
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in watched])
    alive = alive & jnp.all(finite)

    # A `where` on each leaf, because a `cond` under `vmap` runs both branches anyway.
    def choose(before, after, one):
        return after if one else jnp.where(alive, after, before)

    return jax.tree.map(choose, old, new, shared(old)), alive
