"""AWAC: advantage-weighted actor-critic (Nair et al. 2020, arXiv 2006.09359).

As in CORL, and unlike the authors' code: the policy is an unsquashed Gaussian whose
samples are clipped to [-1, 1]; one sampled action stands in for the value of a state;
the weights are capped, and not normalized over the batch.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from samg_jax import distributions, losses, networks, optimization, settings
from samg_jax.types import Batch, Guide, Metrics, ModelState, Params, shared, unguided


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyperparameters of AWAC.

    Attributes:
        learning_rate: The step size of Adam for actor and critics.
        hidden_dims: The widths of the hidden layers of actor and critics.
        discount: The discount factor gamma.
        tau: The share of the new parameters in each update of the target critic.
        inverse_temperature: The factor on the advantage in the actor's exponential
            weights; `1 / awac_lambda` in CORL.
        inverse_temperature_online: The factor on the advantage while fine-tuning; None
            keeps `inverse_temperature`.
        max_weight: The cap on the actor's exponential weights.
    """

    learning_rate: float = settings.number(3e-4, 0, open=True)
    hidden_dims: tuple[int, ...] = settings.widths((256, 256, 256))
    discount: float = settings.number(0.99, 0, 1, open=True)
    tau: float = settings.number(0.005, 0, 1, sweepable=True)
    inverse_temperature: float = settings.number(
        1.0 / 0.3333, 0, open=True, sweepable=True
    )
    inverse_temperature_online: float | None = settings.number(
        None, 0, open=True, sweepable=True, example=3.0, fine_tuning=True
    )
    max_weight: float = settings.number(100.0, 0, open=True, sweepable=True)


class State(struct.PyTreeNode):
    """Everything AWAC learns; arrays only.

    Attributes:
        step: `[]` number of updates taken.
        actor: policy pi(a | s).
        critic: ensemble of Q(s, a).
        target_critic: moving average of the critic's parameters.
    """

    step: jax.Array = shared()
    actor: ModelState
    critic: ModelState
    target_critic: Params


@dataclasses.dataclass(frozen=True)
class AWAC:
    """The fixed parts of AWAC and its pure methods; see `types.Algorithm`."""

    config: Config
    action_size: int
    actor: nn.Module
    critic: nn.Module
    optimizer: optax.GradientTransformation

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> State:
        actor_key, critic_key = jax.random.split(key)
        actions = jnp.zeros((*observations.shape[:-1], self.action_size))
        actor = self.actor.init(actor_key, observations)
        critic = self.critic.init(critic_key, observations, actions)
        return State(
            step=jnp.zeros((), jnp.int32),
            actor=optimization.create(actor, self.optimizer),
            critic=optimization.create(critic, self.optimizer),
            target_critic=jax.tree.map(jnp.copy, critic),
        )

    def update(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[State, Metrics]:
        """Takes one step on Q, then on pi with the new Q."""
        value_key, _ = jax.random.split(key)
        next_values = self.next_values(state, batch, key, guide)
        targets = losses.td_targets(
            batch.rewards, batch.masks, next_values, self.config.discount
        )
        critic, critic_metrics = optimization.gradient_step(
            self.critic_loss, state.critic, self.optimizer, batch, targets
        )

        advantages = self.advantages(state, critic.params, batch, value_key)
        weights = losses.exponential_weights(
            advantages, self.config.inverse_temperature, self.config.max_weight
        )
        actor, actor_metrics = optimization.gradient_step(
            self.actor_loss, state.actor, self.optimizer, batch, weights
        )

        target_critic = optimization.soft_update(
            critic.params, state.target_critic, self.config.tau
        )
        metrics = {**critic_metrics, **actor_metrics, "advantage": advantages.mean()}
        return State(state.step + 1, actor, critic, target_critic), metrics

    def next_values(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        _, target_key = jax.random.split(key)
        mean, log_std = self.actor.apply(state.actor.params, batch.next_observations)
        actions = distributions.sample_clipped_gaussian(target_key, mean, log_std)
        return guide(self.q)(state.target_critic, batch.next_observations, actions)

    def q(
        self, params: Params, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """Q(s, a), the minimum over the ensemble, `[B]`."""
        return self.critic.apply(params, observations, actions).min(axis=0)

    def advantages(
        self, state: State, critic_params: Params, batch: Batch, key: chex.PRNGKey
    ) -> jax.Array:
        """Q(s, a) - Q(s, a~), `[B]`, with one sampled action a~ of the policy."""
        mean, log_std = self.actor.apply(state.actor.params, batch.observations)
        actions = distributions.sample_clipped_gaussian(key, mean, log_std)
        values = self.q(critic_params, batch.observations, actions)
        return self.q(critic_params, batch.observations, batch.actions) - values

    def critic_loss(self, params, batch, targets):
        q = self.critic.apply(params, batch.observations, batch.actions)
        loss = losses.td_loss(q, targets)
        return loss, {"critic_loss": loss, "q": q.mean(), "target": targets.mean()}

    def actor_loss(self, params, batch, weights):
        mean, log_std = self.actor.apply(params, batch.observations)
        log_probs = distributions.gaussian_log_prob(batch.actions, mean, log_std)
        loss = losses.weighted_regression_loss(log_probs, weights)
        return loss, {"actor_loss": loss, "log_prob": log_probs.mean()}

    def values(self, params: Params, batch: Batch) -> jax.Array:
        return self.q(params, batch.observations, batch.actions)

    def q_values(self, state: State, batch: Batch) -> jax.Array:
        critic = state.critic.params
        return self.critic.apply(critic, batch.observations, batch.actions)

    def value_params(self, state: State) -> Params:
        return state.target_critic

    def online_value_params(self, state: State) -> Params:
        return state.critic.params

    def online(self) -> AWAC:
        if self.config.inverse_temperature_online is None:
            return self
        inverse_temperature = self.config.inverse_temperature_online
        config = dataclasses.replace(
            self.config, inverse_temperature=inverse_temperature
        )
        return dataclasses.replace(self, config=config)

    def start_online(self, state: State) -> State:
        return state

    def explore(
        self, state: State, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        mean, log_std = self.actor.apply(state.actor.params, observations)
        return distributions.sample_clipped_gaussian(key, mean, log_std)

    def act(self, state: State, observations: jax.Array) -> jax.Array:
        mean, _ = self.actor.apply(state.actor.params, observations)
        return mean


def make(config: Config, action_size: int) -> AWAC:
    """AWAC for actions of `action_size` dimensions."""
    return AWAC(
        config=config,
        action_size=action_size,
        actor=networks.GaussianActor(config.hidden_dims, action_size),
        critic=networks.critic_ensemble(config.hidden_dims),
        optimizer=optimization.adam(config.learning_rate),
    )
