"""BC: behavioral cloning by least squares, the any-percent BC of CORL on all data.

BC has no value function: it bootstraps from nothing, so there is nothing to guide.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from samg_jax import losses, networks, optimization, settings
from samg_jax.types import Batch, Guide, Metrics, ModelState, Params, shared, unguided


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyperparameters of BC.

    Attributes:
        learning_rate: The step size of Adam for the policy.
        hidden_dims: The widths of the hidden layers of the policy.
    """

    learning_rate: float = settings.number(3e-4, 0, open=True)
    hidden_dims: tuple[int, ...] = settings.widths((256, 256))

    learns_values = False  # This is no field; see `algorithms.learns_values`.


class State(struct.PyTreeNode):
    """Everything BC learns; arrays only.

    Attributes:
        step: `[]` number of updates taken.
        actor: policy pi(s).
    """

    step: jax.Array = shared()
    actor: ModelState


@dataclasses.dataclass(frozen=True)
class BC:
    """The fixed parts of BC and its pure methods; see `types.Algorithm`."""

    config: Config
    action_size: int
    actor: nn.Module
    optimizer: optax.GradientTransformation

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> State:
        actor = self.actor.init(key, observations)
        return State(
            step=jnp.zeros((), jnp.int32),
            actor=optimization.create(actor, self.optimizer),
        )

    def update(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[State, Metrics]:
        """Takes one step toward the actions of the batch."""
        del key, guide
        actor, metrics = optimization.gradient_step(
            self.actor_loss, state.actor, self.optimizer, batch
        )
        return State(state.step + 1, actor), metrics

    def next_values(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        del state, key, guide
        return jnp.zeros_like(batch.rewards)

    def actor_loss(self, params, batch):
        actions = self.actor.apply(params, batch.observations)
        loss = losses.squared_errors(actions, batch.actions).mean()
        return loss, {"actor_loss": loss}

    def values(self, params: Params, batch: Batch) -> jax.Array:
        del params
        return jnp.zeros_like(batch.rewards)

    def q_values(self, state: State, batch: Batch) -> jax.Array:
        del state
        return jnp.zeros_like(batch.rewards)[None]

    def value_params(self, state: State) -> Params:
        del state
        return ()

    def online_value_params(self, state: State) -> Params:
        del state
        return ()

    def online(self) -> BC:
        return self

    def start_online(self, state: State) -> State:
        return state

    def explore(
        self, state: State, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        del key
        return self.act(state, observations)

    def act(self, state: State, observations: jax.Array) -> jax.Array:
        return self.actor.apply(state.actor.params, observations)


def make(config: Config, action_size: int) -> BC:
    """BC for actions of `action_size` dimensions."""
    return BC(
        config=config,
        action_size=action_size,
        actor=networks.DeterministicActor(config.hidden_dims, action_size),
        optimizer=optimization.adam(config.learning_rate),
    )
