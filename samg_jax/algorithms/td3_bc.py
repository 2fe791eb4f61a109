"""TD3+BC: TD3 with a term of behavioral cloning (Fujimoto and Gu 2021, 2106.06860).

As in CORL: the actor and all target networks move only on every `policy_delay`-th
update, with the critic that the same update has trained.
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
    """Hyperparameters of TD3+BC.

    Attributes:
        learning_rate: The step size of Adam for actor and critics.
        hidden_dims: The widths of the hidden layers of actor and critics.
        discount: The discount factor gamma.
        tau: The share of the new parameters in each update of the target critic.
        value_weight: The weight of the normalized value beside the cloning term;
            `alpha` in CORL.
        policy_noise: The standard deviation of the noise on the actions of the target.
        noise_limit: The bound to which the noise of the target and of exploration is
            clipped.
        policy_delay: The number of critic updates per update of actor and targets.
        exploration_noise: The standard deviation of the noise on the actions that
            collect data, from TD3; CORL has no online phase.
    """

    learning_rate: float = settings.number(3e-4, 0, open=True)
    hidden_dims: tuple[int, ...] = settings.widths((256, 256))
    discount: float = settings.number(0.99, 0, 1, open=True)
    tau: float = settings.number(0.005, 0, 1, sweepable=True)
    value_weight: float = settings.number(2.5, 0)
    policy_noise: float = settings.number(0.2, 0)
    noise_limit: float = settings.number(0.5, 0)
    policy_delay: int = settings.count(2, 1)
    exploration_noise: float = settings.number(0.1, 0, fine_tuning=True)


class State(struct.PyTreeNode):
    """Everything TD3+BC learns; arrays only.

    Attributes:
        step: `[]` number of updates taken.
        actor: policy pi(s).
        critic: ensemble of Q(s, a).
        target_actor: moving average of the actor's parameters.
        target_critic: moving average of the critic's parameters.
        actor_metrics: the metrics of the latest actor step, reported until the next.
    """

    step: jax.Array = shared()
    actor: ModelState
    critic: ModelState
    target_actor: Params
    target_critic: Params
    actor_metrics: Metrics


@dataclasses.dataclass(frozen=True)
class TD3BC:
    """The fixed parts of TD3+BC and its pure methods; see `types.Algorithm`."""

    config: Config
    action_size: int
    actor: nn.Module
    critic: nn.Module
    one_critic: nn.Module
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
            target_actor=jax.tree.map(jnp.copy, actor),
            target_critic=jax.tree.map(jnp.copy, critic),
            actor_metrics={"actor_loss": jnp.zeros(()), "cloning_loss": jnp.zeros(())},
        )

    def update(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[State, Metrics]:
        """Take one step on Q and, every few updates, on pi and the targets."""
        next_values = self.next_values(state, batch, key, guide)
        targets = losses.td_targets(
            batch.rewards, batch.masks, next_values, self.config.discount
        )
        critic, critic_metrics = optimization.gradient_step(
            self.critic_loss, state.critic, self.optimizer, batch, targets
        )
        state = state.replace(step=state.step + 1, critic=critic)
        state = jax.lax.cond(
            state.step % self.config.policy_delay == 0,
            self.update_actor,
            lambda state, batch: state,
            state,
            batch,
        )
        return state, {**critic_metrics, **state.actor_metrics}

    def update_actor(self, state: State, batch: Batch) -> State:
        """Take one step on pi, and on the targets."""
        actor, metrics = optimization.gradient_step(
            self.actor_loss, state.actor, self.optimizer, batch, state.critic.params
        )
        tau = self.config.tau
        return state.replace(
            actor=actor,
            target_actor=optimization.soft_update(
                actor.params, state.target_actor, tau
            ),
            target_critic=optimization.soft_update(
                state.critic.params, state.target_critic, tau
            ),
            actor_metrics=metrics,
        )

    def next_values(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        actions = distributions.sample_perturbed(
            key,
            self.actor.apply(state.target_actor, batch.next_observations),
            self.config.policy_noise,
            self.config.noise_limit,
        )
        return guide(self.q)(state.target_critic, batch.next_observations, actions)

    def q(
        self, params: Params, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """Q(s, a), the minimum over the ensemble, `[B]`."""
        return self.critic.apply(params, observations, actions).min(axis=0)

    def critic_loss(self, params, batch, targets):
        q = self.critic.apply(params, batch.observations, batch.actions)
        loss = losses.td_loss(q, targets)
        return loss, {"critic_loss": loss, "q": q.mean(), "target": targets.mean()}

    def actor_loss(self, params, batch, critic_params):
        actions = self.actor.apply(params, batch.observations)
        # The actor follows the first critic alone, as in TD3.
        first = jax.tree.map(lambda leaf: leaf[0], critic_params)
        q = self.one_critic.apply(first, batch.observations, actions)
        cloning = losses.squared_errors(actions, batch.actions).mean()
        loss = self.config.value_weight * losses.normalized_value_loss(q) + cloning
        return loss, {"actor_loss": loss, "cloning_loss": cloning}

    def values(self, params: Params, batch: Batch) -> jax.Array:
        return self.q(params, batch.observations, batch.actions)

    def q_values(self, state: State, batch: Batch) -> jax.Array:
        critic = state.critic.params
        return self.critic.apply(critic, batch.observations, batch.actions)

    def value_params(self, state: State) -> Params:
        return state.target_critic

    def online_value_params(self, state: State) -> Params:
        return state.critic.params

    def online(self) -> TD3BC:
        return self

    def start_online(self, state: State) -> State:
        return state

    def explore(
        self, state: State, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        return distributions.sample_perturbed(
            key,
            self.act(state, observations),
            self.config.exploration_noise,
            self.config.noise_limit,
        )

    def act(self, state: State, observations: jax.Array) -> jax.Array:
        return self.actor.apply(state.actor.params, observations)


def make(config: Config, action_size: int) -> TD3BC:
    """TD3+BC for actions of `action_size` dimensions."""
    return TD3BC(
        config=config,
        action_size=action_size,
        actor=networks.DeterministicActor(config.hidden_dims, action_size),
        critic=networks.critic_ensemble(config.hidden_dims),
        one_critic=networks.Critic(config.hidden_dims),
        optimizer=optimization.adam(config.learning_rate),
    )
