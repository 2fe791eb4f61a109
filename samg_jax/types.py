"""What the parts of the package hand to each other.

Letters in shapes: `B` batch, `O` observation, `A` action, `E` ensemble, `N` sampled
actions, `Z` latent, `S` seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import chex
import jax
import optax
from flax import struct

Params = Any
Metrics = dict[str, jax.Array]

# A function of value parameters and inputs that returns one number per sample, `[B]`.
PerSampleFn = Callable[..., jax.Array]

# A transformation of such functions: the one place where SAMG enters an algorithm.
Guide = Callable[[PerSampleFn], PerSampleFn]


def shared() -> Any:
    """A field of a state that all seeds have in common, so that it has no seed axis.

    A counter of updates is one: it is equal for all seeds, and while it has no axis, a
    `jax.lax.cond` on it stays a `cond` instead of computing both branches.
    """
    return struct.field(metadata={"shared": True})


class Batch(struct.PyTreeNode):
    """Transitions; raw unless a function says that it normalized them.

    Attributes:
        observations: `[B, O]`.
        actions: `[B, A]` in [-1, 1].
        rewards: `[B]`.
        next_observations: `[B, O]`.
        masks: `[B]`, `1 - terminals`; a time limit is not a terminal.
        mc_returns: `[B]` discounted return-to-go (Cal-QL); 0 where it is not used,
            minus infinity where it is but the episode is not over.
        weights: `[B]` p(s, a), computed once when the transition is stored.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    next_observations: jax.Array
    masks: jax.Array
    mc_returns: jax.Array
    weights: jax.Array


class ModelState(struct.PyTreeNode):
    """A trained network: its parameters and its optimizer's state."""

    params: Params
    opt_state: optax.OptState


def unguided(fn: PerSampleFn) -> PerSampleFn:
    """Returns `fn` itself: the guide of an algorithm without guidance."""
    return fn


class Algorithm(Protocol):
    """What training needs of an algorithm: fixed parts with pure methods.

    An algorithm is a frozen dataclass of networks, optimizers and hyperparameters;
    what it learns is in a state of arrays only, so that states can be stacked over
    seeds, donated and saved. Observations handed to it are already normalized where
    the configuration says so.
    """

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> Any:
        """Returns a fresh state; `observations` `[B, O]` only gives the shape."""

    def update(
        self, state: Any, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[Any, Metrics]:
        """Returns the state after one gradient step, and scalar metrics."""

    def next_values(
        self, state: Any, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        """Returns the value `[B]` that the target bootstraps from, before masking.

        Given the same key, exactly the one that `update` uses.
        """

    def values(self, params: Params, batch: Batch) -> jax.Array:
        """Returns the values `[B]` of the batch itself under value parameters.

        Of its pairs, or of its observations where only those have one, as in IQL.
        """

    def q_values(self, state: Any, batch: Batch) -> jax.Array:
        """Returns Q `[E, B]` of the batch's pairs, by the critics that are trained."""

    def value_params(self, state: Any) -> Params:
        """Returns the parameters that the target bootstraps from."""

    def online_value_params(self, state: Any) -> Params:
        """Returns the trained counterpart of `value_params`."""

    def online(self) -> Algorithm:
        """Returns the algorithm as it fine-tunes, with the same networks."""

    def start_online(self, state: Any) -> Any:
        """Returns the state with which fine-tuning starts."""

    def explore(
        self, state: Any, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        """Returns actions `[B, A]` for collecting data, in [-1, 1]."""

    def act(self, state: Any, observations: jax.Array) -> jax.Array:
        """Returns evaluation actions `[B, A]`, not necessarily clipped."""
