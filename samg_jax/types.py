"""The types that the parts of the package hand to each other.

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
    """Declare a state's field that all seeds share, so that it has no seed axis.

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
    """The identity guide, for an algorithm without guidance: returns `fn` itself."""
    return fn


class Algorithm(Protocol):
    """The methods that training calls on an algorithm, a set of fixed parts.

    An algorithm is a frozen dataclass of networks, optimizers and hyperparameters;
    what it learns is in a state of arrays only, so that states can be stacked over
    seeds, donated and saved. Observations handed to it are already normalized where
    the configuration says so.
    """

    @property
    def config(self) -> Any:
        """The hyperparameters, the `Config` of the algorithm's module."""

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> Any:
        """A fresh state; `observations`, `[B, O]`, only provide the shape."""

    def update(
        self, state: Any, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[Any, Metrics]:
        """Take one gradient step; returns the new state and scalar metrics."""

    def next_values(
        self, state: Any, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        """The value `[B]` from which the target bootstraps, before masking.

        Given the same key, `update` uses exactly this value.
        """

    def values(self, params: Params, batch: Batch) -> jax.Array:
        """The values `[B]` of the batch itself under the given value parameters.

        They are values of its pairs, or of its observations if the algorithm learns
        only a V function, as IQL does.
        """

    def q_values(self, state: Any, batch: Batch) -> jax.Array:
        """Q `[E, B]` of the batch's pairs under the trained critics."""

    def value_params(self, state: Any) -> Params:
        """The parameters from which the target bootstraps."""

    def online_value_params(self, state: Any) -> Params:
        """The trained counterpart of `value_params`."""

    def online(self) -> Algorithm:
        """The algorithm in its online phase, with the same networks."""

    def start_online(self, state: Any) -> Any:
        """The state with which fine-tuning starts, made from the offline state."""

    def explore(
        self, state: Any, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        """Actions `[B, A]` in [-1, 1] that collect data."""

    def act(self, state: Any, observations: jax.Array) -> jax.Array:
        """Evaluation actions `[B, A]`, not necessarily clipped."""
