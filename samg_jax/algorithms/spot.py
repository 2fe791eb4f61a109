"""SPOT: supported policy optimization (Wu et al. 2022, arXiv 2202.06239).

SPOT is TD3 with an actor that stays where a variational autoencoder of the behavior
policy finds the data dense. As in CORL: the first updates train the autoencoder alone,
which is then frozen for good; the actor and all targets move on every `policy_delay`-th
update. Fine-tuning starts with fresh optimizers, may have its own discount, and lowers
the weight of the support penalty linearly to a share of itself. This autoencoder
reconstructs actions and is unrelated to SAMG's.

The module is longer than others because the autoencoder belongs to the algorithm.
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
    """Hyperparameters of SPOT.

    Attributes:
        actor_learning_rate: The step size of Adam for the policy.
        critic_learning_rate: The step size of Adam for the critics.
        hidden_dims: The widths of the hidden layers of actor and critics.
        actor_head_bound: The bound of the uniform initial weights of the policy's last
            layer; None takes PyTorch's.
        critic_head_bound: The bound of the uniform initial weights of the critics' last
            layers; None takes PyTorch's.
        discount: The discount factor gamma.
        discount_online: The discount factor while fine-tuning; None keeps `discount`.
        tau: The share of the new parameters in each update of the target critic.
        support_weight: The weight of the penalty on actions outside the data's support;
            `lambda` in CORL.
        support_floor: The share of `support_weight` that is left when it has cooled.
        cooling_steps: The updates in which the weight would cool to 0; follows from the
            online updates.
        policy_noise: The standard deviation of the noise on the actions of the target.
        noise_limit: The bound to which the noise of the target and of exploration is
            clipped.
        policy_delay: The number of critic updates per update of actor and targets.
        exploration_noise: The standard deviation of the noise on the actions that
            collect data.
        vae_steps: The number of first offline updates, which train the behavior
            autoencoder alone.
        vae_learning_rate: The step size of Adam for the autoencoder.
        vae_hidden_dims: The widths of the hidden layers of the autoencoder's encoder
            and decoder.
        vae_beta: The weight of the autoencoder's KL term.
    """

    actor_learning_rate: float = settings.number(1e-4, 0, open=True)
    critic_learning_rate: float = settings.number(3e-4, 0, open=True)
    hidden_dims: tuple[int, ...] = settings.widths((256, 256))
    actor_head_bound: float | None = settings.number(1e-3, 0, open=True)
    critic_head_bound: float | None = settings.number(3e-3, 0, open=True)
    discount: float = settings.number(0.99, 0, 1, open=True)
    discount_online: float | None = settings.number(
        None, 0, 1, open=True, example=0.99, fine_tuning=True
    )
    tau: float = settings.number(0.005, 0, 1, sweepable=True)
    support_weight: float = settings.number(0.25, 0, sweepable=True)
    support_floor: float = settings.number(0.2, 0, 1, fine_tuning=True)
    cooling_steps: int = settings.follows(
        1_000_000, "online.steps", lambda run, _: max(run.online.updates, 1)
    )
    policy_noise: float = settings.number(0.2, 0)
    noise_limit: float = settings.number(0.5, 0)
    policy_delay: int = settings.count(2, 1)
    exploration_noise: float = settings.number(0.1, 0, fine_tuning=True)
    vae_steps: int = settings.count(100_000, 0)
    vae_learning_rate: float = settings.number(1e-3, 0, open=True, needs=("vae_steps",))
    vae_hidden_dims: tuple[int, ...] = settings.widths((750, 750))
    vae_beta: float = settings.number(0.5, 0)


class State(struct.PyTreeNode):
    """Everything SPOT learns; arrays only.

    Attributes:
        step: `[]` number of updates taken, including those of the autoencoder.
        online_step: `[]` number of updates taken while fine-tuning.
        vae: autoencoder of the behavior policy.
        actor: policy pi(s).
        critic: ensemble of Q(s, a).
        target_actor: moving average of the actor's parameters.
        target_critic: moving average of the critic's parameters.
        metrics: the metrics of the latest update of each kind, reported until the next.
    """

    step: jax.Array = shared()
    online_step: jax.Array = shared()
    vae: ModelState
    actor: ModelState
    critic: ModelState
    target_actor: Params
    target_critic: Params
    metrics: Metrics


METRICS = (
    *("vae_loss", "reconstruction", "kl"),
    *("critic_loss", "q", "target"),
    *("actor_loss", "support_loss", "support_weight"),
)


@dataclasses.dataclass(frozen=True)
class SPOT:
    """The fixed parts of SPOT and its pure methods; see `types.Algorithm`."""

    config: Config
    action_size: int
    fine_tuning: bool
    encoder: nn.Module
    decoder: nn.Module
    actor: nn.Module
    critic: nn.Module
    one_critic: nn.Module
    vae_optimizer: optax.GradientTransformation
    actor_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> State:
        encoder_key, decoder_key, actor_key, critic_key = jax.random.split(key, 4)
        actions = jnp.zeros((*observations.shape[:-1], self.action_size))
        codes = jnp.zeros((*observations.shape[:-1], self.encoder.latent_size))
        vae = {
            "encoder": self.encoder.init(encoder_key, observations, actions),
            "decoder": self.decoder.init(
                decoder_key, jnp.concatenate([observations, codes], axis=-1)
            ),
        }
        actor = self.actor.init(actor_key, observations)
        critic = self.critic.init(critic_key, observations, actions)
        return State(
            step=jnp.zeros((), jnp.int32),
            online_step=jnp.zeros((), jnp.int32),
            vae=optimization.create(vae, self.vae_optimizer),
            actor=optimization.create(actor, self.actor_optimizer),
            critic=optimization.create(critic, self.critic_optimizer),
            target_actor=jax.tree.map(jnp.copy, actor),
            target_critic=jax.tree.map(jnp.copy, critic),
            metrics={name: jnp.zeros(()) for name in METRICS},
        )

    def update(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[State, Metrics]:
        """Takes one step on the autoencoder, or one of the actor-critic after that."""

        def update_policy(state, batch, key):
            return self.update_policy(state, batch, key, guide)

        if self.fine_tuning:
            state = state.replace(online_step=state.online_step + 1)
            state = update_policy(state, batch, key)
        else:
            state = jax.lax.cond(
                state.step < self.config.vae_steps,
                self.update_vae,
                update_policy,
                state,
                batch,
                key,
            )
        return state.replace(step=state.step + 1), state.metrics

    def update_vae(self, state: State, batch: Batch, key: chex.PRNGKey) -> State:
        """Take one step on the autoencoder."""
        vae, metrics = optimization.gradient_step(
            self.vae_loss, state.vae, self.vae_optimizer, batch, key
        )
        return state.replace(vae=vae, metrics={**state.metrics, **metrics})

    def update_policy(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide
    ) -> State:
        """Take one step on Q and, every few updates, on pi and the targets."""
        _, latent_key = jax.random.split(key)
        next_values = self.next_values(state, batch, key, guide)
        targets = losses.td_targets(
            batch.rewards, batch.masks, next_values, self.config.discount
        )
        critic, metrics = optimization.gradient_step(
            self.critic_loss, state.critic, self.critic_optimizer, batch, targets
        )
        state = state.replace(critic=critic, metrics={**state.metrics, **metrics})
        return jax.lax.cond(
            (state.step + 1) % self.config.policy_delay == 0,
            self.update_actor,
            lambda state, *_: state,
            state,
            batch,
            latent_key,
        )

    def update_actor(self, state: State, batch: Batch, key: chex.PRNGKey) -> State:
        """Take one step on pi, and on the targets."""
        actor, metrics = optimization.gradient_step(
            self.actor_loss, state.actor, self.actor_optimizer, state, batch, key
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
            metrics={**state.metrics, **metrics},
        )

    def next_values(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        noise_key, _ = jax.random.split(key)
        actions = distributions.sample_perturbed(
            noise_key,
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

    def evidence_terms(
        self,
        params: Params,
        observations: jax.Array,
        actions: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[jax.Array, jax.Array]:
        """Reconstruction error and KL term of the actions, `[B]` each.

        With the KL term weighted, their sum is minus a bound on the log-density of the
        behavior policy, up to constants. One latent sample estimates it.
        """
        means, stds = self.encoder.apply(params["encoder"], observations, actions)
        codes = distributions.sample_gaussian(key, means, stds)
        inputs = jnp.concatenate([observations, codes], axis=-1)
        reconstructed = jnp.tanh(self.decoder.apply(params["decoder"], inputs))
        errors = losses.squared_errors(reconstructed, actions)
        return errors, losses.kl_divergence(means, stds)

    def vae_loss(self, params, batch, key):
        errors, kl = self.evidence_terms(params, batch.observations, batch.actions, key)
        loss = losses.evidence_loss(errors, kl, self.config.vae_beta)
        return loss, {
            "vae_loss": loss,
            "reconstruction": errors.mean(),
            "kl": kl.mean(),
        }

    def critic_loss(self, params, batch, targets):
        q = self.critic.apply(params, batch.observations, batch.actions)
        loss = losses.td_loss(q, targets)
        return loss, {"critic_loss": loss, "q": q.mean(), "target": targets.mean()}

    def actor_loss(self, params, state, batch, key):
        actions = self.actor.apply(params, batch.observations)
        # The actor follows the first critic alone, as in TD3.
        first = jax.tree.map(lambda leaf: leaf[0], state.critic.params)
        q = self.one_critic.apply(first, batch.observations, actions)
        errors, kl = self.evidence_terms(
            state.vae.params, batch.observations, actions, key
        )
        support = losses.evidence_loss(errors, kl, self.config.vae_beta)
        weight = self.support_weight(state.online_step)
        loss = losses.normalized_value_loss(q) + weight * support
        return loss, {
            "actor_loss": loss,
            "support_loss": support,
            "support_weight": weight,
        }

    def support_weight(self, online_step: jax.Array) -> jax.Array:
        """The weight of the penalty after `online_step` updates of fine-tuning."""
        return losses.cooled_weight(
            self.config.support_weight,
            online_step / float(self.config.cooling_steps),
            self.config.support_floor,
        )

    def values(self, params: Params, batch: Batch) -> jax.Array:
        return self.q(params, batch.observations, batch.actions)

    def q_values(self, state: State, batch: Batch) -> jax.Array:
        critic = state.critic.params
        return self.critic.apply(critic, batch.observations, batch.actions)

    def value_params(self, state: State) -> Params:
        return state.target_critic

    def online_value_params(self, state: State) -> Params:
        return state.critic.params

    def online(self) -> SPOT:
        discount = self.config.discount_online or self.config.discount
        config = dataclasses.replace(self.config, discount=discount)
        return dataclasses.replace(self, config=config, fine_tuning=True)

    def start_online(self, state: State) -> State:
        return state.replace(
            actor=optimization.create(state.actor.params, self.actor_optimizer),
            critic=optimization.create(state.critic.params, self.critic_optimizer),
        )

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


def head_init(bound: float | None) -> networks.Init:
    """The initialization of a network's last layer."""
    return networks.default_init if bound is None else networks.uniform_init(bound)


def make(config: Config, action_size: int) -> SPOT:
    """SPOT for actions of `action_size` dimensions, in its offline phase."""
    return SPOT(
        config=config,
        action_size=action_size,
        fine_tuning=False,
        encoder=networks.GaussianEncoder(config.vae_hidden_dims, 2 * action_size),
        decoder=networks.MLP(config.vae_hidden_dims, action_size),
        actor=networks.DeterministicActor(
            config.hidden_dims, action_size, head_init(config.actor_head_bound)
        ),
        critic=networks.critic_ensemble(
            config.hidden_dims, head_init=head_init(config.critic_head_bound)
        ),
        one_critic=networks.Critic(config.hidden_dims),
        vae_optimizer=optimization.adam(config.vae_learning_rate),
        actor_optimizer=optimization.adam(config.actor_learning_rate),
        critic_optimizer=optimization.adam(config.critic_learning_rate),
    )
