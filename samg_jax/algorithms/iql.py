"""IQL: implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169).

As in CORL, and unlike the authors' code: V, Q and pi are trained with one advantage,
computed from V and the target Q before the step, and the target's V(s') is from before
the step as well. The stochastic policy is a Gaussian around tanh(mean), not a squashed
one. The actor's learning rate follows a cosine over the offline updates, whose period
continues while fine-tuning: from 0 at the switch back up to the initial rate.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from samg_jax import checks, distributions, losses, networks, optimization, settings
from samg_jax.types import Batch, Guide, Metrics, ModelState, Params, shared, unguided

# The bound on the noise with which a deterministic policy explores.
EXPLORATION_LIMIT = 0.5


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyperparameters of IQL.

    Attributes:
        learning_rate: The step size of Adam for all networks; the actor's schedule
            starts there.
        hidden_dims: The widths of the hidden layers of every network.
        discount: The discount factor gamma.
        tau: The share of the new parameters in each update of the target critic.
        expectile: The expectile of Q that V fits; `iql_tau` in CORL.
        inverse_temperature: The factor on the advantage in the actor's exponential
            weights; `beta` in CORL.
        max_weight: The cap on the actor's exponential weights.
        deterministic: Whether the policy is deterministic and fits actions by weighted
            squared errors.
        exploration_noise: The standard deviation of the noise with which a
            deterministic policy explores.
        actor_schedule: The actor's learning rate: `cosine` falls to 0 over the offline
            updates and rises again online, as in CORL; `constant` stays.
        schedule_steps: The updates in which the cosine falls to 0; follows from
            `config.offline.updates`.
    """

    learning_rate: float = settings.number(3e-4, 0, open=True)
    hidden_dims: tuple[int, ...] = settings.widths((256, 256))
    discount: float = settings.number(0.99, 0, 1, open=True)
    tau: float = settings.number(0.005, 0, 1, sweepable=True)
    expectile: float = settings.number(0.7, 0, 1, open=True, sweepable=True)
    inverse_temperature: float = settings.number(3.0, 0, open=True, sweepable=True)
    max_weight: float = settings.number(100.0, 0, open=True, sweepable=True)
    deterministic: bool = settings.field(False, agrees=True)
    exploration_noise: float = settings.number(
        0.03, 0, needs=("deterministic",), refused=True, fine_tuning=True
    )
    actor_schedule: str = settings.choice("cosine", "cosine", "constant")
    schedule_steps: int = settings.follows(
        1_000_000,
        "offline.updates",
        lambda run, _: max(run.offline.updates, 1),
        agrees=lambda config: config.actor_schedule == "cosine",
    )


class State(struct.PyTreeNode):
    """Everything IQL learns; arrays only.

    Attributes:
        step: `[]` number of updates taken.
        actor: policy pi(a | s).
        critic: ensemble of Q(s, a).
        target_critic: moving average of the critic's parameters.
        value: V(s), from which the target bootstraps.
    """

    step: jax.Array = shared()
    actor: ModelState
    critic: ModelState
    target_critic: Params
    value: ModelState


@dataclasses.dataclass(frozen=True)
class IQL:
    """The fixed parts of IQL and its pure methods; see `types.Algorithm`."""

    config: Config
    action_size: int
    actor: nn.Module
    critic: nn.Module
    value: nn.Module
    schedule: optax.Schedule
    actor_optimizer: optax.GradientTransformation
    optimizer: optax.GradientTransformation

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> State:
        actor_key, critic_key, value_key = jax.random.split(key, 3)
        actions = jnp.zeros((*observations.shape[:-1], self.action_size))
        actor = self.actor.init(actor_key, observations)
        critic = self.critic.init(critic_key, observations, actions)
        value = self.value.init(value_key, observations)
        return State(
            step=jnp.zeros((), jnp.int32),
            actor=optimization.create(actor, self.actor_optimizer),
            critic=optimization.create(critic, self.optimizer),
            target_critic=jax.tree.map(jnp.copy, critic),
            value=optimization.create(value, self.optimizer),
        )

    def update(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[State, Metrics]:
        """Takes one step on V, on Q, and on pi with the advantage before the step."""
        next_values = self.next_values(state, batch, key, guide)
        q = self.critic.apply(state.target_critic, batch.observations, batch.actions)
        q = q.min(axis=0)
        # One advantage serves V and pi: both values are from before the step.
        advantages = q - self.value.apply(state.value.params, batch.observations)

        value, value_metrics = optimization.gradient_step(
            self.value_loss, state.value, self.optimizer, batch, q
        )

        targets = losses.td_targets(
            batch.rewards, batch.masks, next_values, self.config.discount
        )
        critic, critic_metrics = optimization.gradient_step(
            self.critic_loss, state.critic, self.optimizer, batch, targets
        )
        target_critic = optimization.soft_update(
            critic.params, state.target_critic, self.config.tau
        )

        weights = losses.exponential_weights(
            advantages, self.config.inverse_temperature, self.config.max_weight
        )
        actor, actor_metrics = optimization.gradient_step(
            self.actor_loss, state.actor, self.actor_optimizer, batch, weights
        )

        metrics = {
            **value_metrics,
            **critic_metrics,
            **actor_metrics,
            "advantage": advantages.mean(),
            "actor_learning_rate": self.schedule(state.step),
        }
        return State(state.step + 1, actor, critic, target_critic, value), metrics

    def next_values(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        del key  # IQL bootstraps from V, without an action.
        return guide(self.value.apply)(state.value.params, batch.next_observations)

    def value_loss(self, params, batch, q):
        v = self.value.apply(params, batch.observations)
        loss = losses.expectile_loss(v, q, self.config.expectile)
        return loss, {"value_loss": loss, "v": v.mean()}

    def critic_loss(self, params, batch, targets):
        q = self.critic.apply(params, batch.observations, batch.actions)
        loss = losses.td_loss(q, targets) / len(q)  # A mean over the ensemble.
        return loss, {"critic_loss": loss, "q": q.mean(), "target": targets.mean()}

    def actor_loss(self, params, batch, weights):
        likelihoods = self.log_likelihoods(params, batch)
        loss = losses.weighted_regression_loss(likelihoods, weights)
        return loss, {"actor_loss": loss, "weight": weights.mean()}

    def log_likelihoods(self, params: Params, batch: Batch) -> jax.Array:
        """Log pi(a | s), `[B]`; for a deterministic policy a stand-in.

        The stand-in is minus the squared distance, summed over dimensions.
        """
        if self.config.deterministic:
            actions = self.actor.apply(params, batch.observations)
            return -self.action_size * losses.squared_errors(actions, batch.actions)
        mean, log_std = self.actor.apply(params, batch.observations)
        return distributions.gaussian_log_prob(batch.actions, jnp.tanh(mean), log_std)

    def values(self, params: Params, batch: Batch) -> jax.Array:
        return self.value.apply(params, batch.observations)

    def q_values(self, state: State, batch: Batch) -> jax.Array:
        critic = state.critic.params
        return self.critic.apply(critic, batch.observations, batch.actions)

    def value_params(self, state: State) -> Params:
        return state.value.params

    def online_value_params(self, state: State) -> Params:
        return state.value.params

    def online(self) -> IQL:
        return self

    def start_online(self, state: State) -> State:
        return state

    def explore(
        self, state: State, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        if self.config.deterministic:
            return distributions.sample_perturbed(
                key,
                self.act(state, observations),
                self.config.exploration_noise,
                EXPLORATION_LIMIT,
            )
        mean, log_std = self.actor.apply(state.actor.params, observations)
        return distributions.sample_clipped_gaussian(key, jnp.tanh(mean), log_std)

    def act(self, state: State, observations: jax.Array) -> jax.Array:
        if self.config.deterministic:
            return self.actor.apply(state.actor.params, observations)
        mean, _ = self.actor.apply(state.actor.params, observations)
        return jnp.tanh(mean)


def make_schedule(config: Config) -> optax.Schedule:
    """The actor's learning rate as a function of the number of updates."""
    if config.actor_schedule == "cosine":
        return optimization.periodic_cosine(config.learning_rate, config.schedule_steps)
    if config.actor_schedule == "constant":
        return optax.constant_schedule(config.learning_rate)
    raise checks.UserError(
        f"Unknown actor_schedule {config.actor_schedule!r} of IQL. Known are 'cosine' "
        "and 'constant'. Set config.agent.actor_schedule to one of them."
    )


def make(config: Config, action_size: int) -> IQL:
    """IQL for actions of `action_size` dimensions."""
    schedule = make_schedule(config)
    actor = networks.GaussianActor(config.hidden_dims, action_size)
    if config.deterministic:
        actor = networks.DeterministicActor(config.hidden_dims, action_size)
    return IQL(
        config=config,
        action_size=action_size,
        actor=actor,
        critic=networks.critic_ensemble(config.hidden_dims),
        value=networks.Value(config.hidden_dims),
        schedule=schedule,
        # A constant is a schedule as well, so that all optimizer states look alike.
        actor_optimizer=optimization.adam(schedule),
        optimizer=optimization.adam(config.learning_rate),
    )
