"""CQL: conservative Q-learning on SAC (Kumar et al. 2020, arXiv 2006.04779).

As in CORL: every loss of a step is evaluated at the parameters before the step; two
learned scalars scale and shift the policy's log-std; actions proposed from the next
observation are scored at the observation; the target has no entropy term. With
`cql_weight` 0 nothing conservative is computed, and this is SAC (Haarnoja et al. 2018).
With `calibrated` it is Cal-QL (Nakamoto et al. 2023, arXiv 2303.05479): the data's
return-to-go bounds the values of the policy's actions from below. CORL drops the bound
when fine-tuning begins; with `calibrated_online` it stays, as in the Cal-QL authors'
code, and online episodes get their returns too.

The module is longer than others because SAC, CQL and Cal-QL share all of their losses.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from samg_jax import checks, distributions, losses, networks, optimization, settings
from samg_jax.types import Batch, Guide, Metrics, ModelState, Params, shared, unguided

KINDS = 3  # Kinds of proposed actions: uniform, and the policy's in s and in s'.


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyperparameters of CQL.

    Attributes:
        actor_learning_rate: The step size of Adam for the policy and the entropy
            temperature.
        critic_learning_rate: The step size of Adam for the critics and the Lagrange
            multiplier.
        actor_hidden_dims: The widths of the hidden layers of the policy.
        critic_hidden_dims: The widths of the hidden layers of each critic.
        second_critic_hidden_dims: The widths of the second critic's hidden layers; None
            makes both critics alike.
        initialization: The initial weights: those of CORL's `offline` script or of its
            `finetune` script.
        discount: The discount factor gamma.
        tau: The share of the new parameters in each update of the target critic.
        cql_weight: The weight of the conservative gap, `cql_alpha` in CORL; 0 leaves
            SAC.
        cql_weight_online: The weight of the conservative gap while fine-tuning; None
            keeps `cql_weight`.
        num_samples: The number of sampled actions of each of the three kinds in the
            conservative gap.
        softmax_temperature: The temperature of the log-sum-exp in the conservative gap.
        gap_clip_min: The lower bound to which the gap of each sample is clipped.
        gap_clip_max: The upper bound to which the gap of each sample is clipped.
        lagrange_gap: The gap that a learned multiplier aims at; None keeps the weight
            fixed.
        max_target_backup: Whether the target takes the best of `num_samples` sampled
            next actions.
        backup_entropy: Whether the target subtracts the entropy term, as SAC does.
        guided_penalty: Whether the guide blends the conservative gap as well; follows
            from `config.guidance.penalty`.
        calibrated: Whether the return-to-go bounds the values of sampled actions from
            below, offline; True makes CQL Cal-QL.
        calibrated_online: Whether the bound of `calibrated` stays while fine-tuning, as
            in the Cal-QL authors' code; CORL drops it.
    """

    actor_learning_rate: float = settings.number(3e-5, 0, open=True)
    critic_learning_rate: float = settings.number(3e-4, 0, open=True)
    actor_hidden_dims: tuple[int, ...] = settings.widths((256, 256, 256))
    critic_hidden_dims: tuple[int, ...] = settings.widths((256, 256, 256))
    second_critic_hidden_dims: tuple[int, ...] | None = settings.widths(None)
    initialization: str = settings.choice("offline", "offline", "finetune")
    discount: float = settings.number(0.99, 0, 1, open=True)
    tau: float = settings.number(0.005, 0, 1, sweepable=True)
    cql_weight: float = settings.number(10.0, 0)
    cql_weight_online: float | None = settings.number(
        None, 0, example=5.0, fine_tuning=True
    )
    num_samples: int = settings.count(10, 1)
    softmax_temperature: float = settings.number(
        1.0, 0, open=True, needs=("cql_weight", "cql_weight_online")
    )
    gap_clip_min: float = settings.field(
        -math.inf, needs=("cql_weight", "cql_weight_online")
    )
    gap_clip_max: float = settings.field(
        math.inf, needs=("cql_weight", "cql_weight_online")
    )
    lagrange_gap: float | None = settings.field(
        None, needs=("cql_weight", "cql_weight_online")
    )
    max_target_backup: bool = False
    backup_entropy: bool = False
    guided_penalty: bool = settings.follows(
        True, "guidance.penalty", lambda _, guidance: guidance.penalty == "mixed"
    )
    calibrated: bool = settings.field(False, needs=("cql_weight", "cql_weight_online"))
    calibrated_online: bool = settings.field(
        False, needs=("cql_weight", "cql_weight_online"), fine_tuning=True
    )


class State(struct.PyTreeNode):
    """Everything CQL learns; arrays only.

    Attributes:
        step: `[]` number of updates taken.
        actor: policy pi(a | s).
        critic: ensemble of Q(s, a).
        target_critic: moving average of the critic's parameters.
        log_temperature: log of SAC's entropy weight.
        log_multiplier: log of the Lagrange multiplier; rests without `lagrange_gap`.
    """

    step: jax.Array = shared()
    actor: ModelState
    critic: ModelState
    target_critic: Params
    log_temperature: ModelState
    log_multiplier: ModelState


def proposal_calls() -> int:
    """The number of calls in which the critics score the proposed actions.

    On a CPU each kind of action has its own call: the activations of fewer rows stay
    in the caches, which gives 6 % more updates on an Intel Xeon and as many on an AMD
    EPYC. Other backends use one call, because larger products should keep a GPU
    busier; this is not measured.
    """
    return KINDS if jax.default_backend() == "cpu" else 1


class Proposals(NamedTuple):
    """Actions that the conservative gap compares with the data's.

    Attributes:
        actions: `[3N, B, A]`: uniform, from pi(. | s), from pi(. | s').
        log_densities: `[3N, B]` log-densities under each action's distribution.
    """

    actions: jax.Array
    log_densities: jax.Array


class Keys(NamedTuple):
    """The keys of an update, one per draw."""

    policy: chex.PRNGKey
    target: chex.PRNGKey
    proposals: chex.PRNGKey


@dataclasses.dataclass(frozen=True)
class CQL:
    """The fixed parts of CQL and its pure methods; see `types.Algorithm`."""

    config: Config
    action_size: int
    actor: nn.Module
    critic: nn.Module
    actor_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation

    def init(self, key: chex.PRNGKey, observations: jax.Array) -> State:
        actor_key, critic_key = jax.random.split(key)
        actions = jnp.zeros((*observations.shape[:-1], self.action_size))
        actor = self.actor.init(actor_key, observations)
        critic = self.critic.init(critic_key, observations, actions)
        return State(
            step=jnp.zeros((), jnp.int32),
            actor=optimization.create(actor, self.actor_optimizer),
            critic=optimization.create(critic, self.critic_optimizer),
            target_critic=jax.tree.map(jnp.copy, critic),
            log_temperature=optimization.create(jnp.zeros(()), self.actor_optimizer),
            log_multiplier=optimization.create(jnp.ones(()), self.critic_optimizer),
        )

    def update(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> tuple[State, Metrics]:
        """Takes one step on everything, from the parameters before the step."""
        keys = Keys(*jax.random.split(key, 3))
        next_values = self.next_values(state, batch, key, guide)
        targets = losses.td_targets(
            batch.rewards, batch.masks, next_values, self.config.discount
        )
        actor, (log_probs, actor_metrics) = optimization.gradient_step(
            self.actor_loss, state.actor, self.actor_optimizer, state, batch, keys
        )
        temperature, temperature_metrics = optimization.gradient_step(
            self.temperature_loss,
            state.log_temperature,
            self.actor_optimizer,
            log_probs,
        )
        critic, critic_metrics = optimization.gradient_step(
            self.critic_loss,
            state.critic,
            self.critic_optimizer,
            (state, batch, targets, keys),
            guide,
        )
        multiplier, multiplier_metrics = self.update_multiplier(
            state.log_multiplier, critic_metrics
        )
        target_critic = optimization.soft_update(
            critic.params, state.target_critic, self.config.tau
        )
        metrics = {
            **actor_metrics,
            **temperature_metrics,
            **critic_metrics,
            **multiplier_metrics,
        }
        state = State(
            state.step + 1, actor, critic, target_critic, temperature, multiplier
        )
        return state, metrics

    def next_values(
        self, state: State, batch: Batch, key: chex.PRNGKey, guide: Guide = unguided
    ) -> jax.Array:
        keys = Keys(*jax.random.split(key, 3))
        mean, log_std = self.actor.apply(state.actor.params, batch.next_observations)
        samples = self.config.num_samples if self.config.max_target_backup else 1
        actions, log_probs = distributions.sample_tanh_gaussian(
            keys.target, mean, log_std, samples
        )
        # The minimum over the ensemble comes first, then the blend, then the maximum.
        values = jax.vmap(guide(self.q), in_axes=(None, None, 0))(
            state.target_critic, batch.next_observations, actions
        )
        # The index of the maximum selects the log-probability of the same action, too.
        best = jnp.argmax(values, axis=0)[None]
        values = jnp.take_along_axis(values, best, axis=0)[0]
        if self.config.backup_entropy:
            log_probs = jnp.take_along_axis(log_probs, best, axis=0)[0]
            values = values - jnp.exp(state.log_temperature.params) * log_probs
        return values

    def q(
        self, params: Params, observations: jax.Array, actions: jax.Array
    ) -> jax.Array:
        """Q(s, a), the minimum over the ensemble, `[B]`."""
        return self.critic.apply(params, observations, actions).min(axis=0)

    def proposals(self, state: State, batch: Batch, key: chex.PRNGKey) -> Proposals:
        """The actions of the conservative gap, without gradient."""
        current_key, next_key, random_key = jax.random.split(key, 3)
        samples = self.config.num_samples
        mean, log_std = self.actor.apply(state.actor.params, batch.observations)
        current, current_log_probs = distributions.sample_tanh_gaussian(
            current_key, mean, log_std, samples
        )
        mean, log_std = self.actor.apply(state.actor.params, batch.next_observations)
        following, following_log_probs = distributions.sample_tanh_gaussian(
            next_key, mean, log_std, samples
        )
        uniform = jax.random.uniform(random_key, current.shape, minval=-1.0, maxval=1.0)
        uniform_log_probs = jnp.full_like(
            current_log_probs, -self.action_size * np.log(2.0)
        )
        return Proposals(
            jnp.concatenate([uniform, current, following]),
            jnp.concatenate(
                [uniform_log_probs, current_log_probs, following_log_probs]
            ),
        )

    def gaps(self, params: Params, batch: Batch, proposals: Proposals) -> jax.Array:
        """The conservative gap of each critic, `[E, B]`."""
        # Proposals are rows of the batch instead of an axis beside the ensemble's, for
        # which XLA would transpose the activations of every layer.
        samples, size, _ = proposals.actions.shape
        calls = proposal_calls()
        samples //= calls
        observations = jnp.tile(batch.observations, (samples, 1))

        def score(actions):
            rows = jax.lax.collapse(actions, 0, 2)
            q = self.critic.apply(params, observations, rows)
            return jnp.swapaxes(q.reshape(-1, samples, size), 0, 1)

        q = jnp.concatenate(
            [score(some) for some in jnp.split(proposals.actions, calls)]
        )
        if self.config.calibrated:
            uniform, policy = jnp.split(q, [self.config.num_samples])
            policy = losses.calibrated(policy, batch.mc_returns)
            q = jnp.concatenate([uniform, policy])
        data_q = self.critic.apply(params, batch.observations, batch.actions)
        return losses.conservative_gaps(
            q,
            data_q,
            proposals.log_densities,
            self.config.softmax_temperature,
            (self.config.gap_clip_min, self.config.gap_clip_max),
        )

    def total_gap(
        self, params: Params, batch: Batch, proposals: Proposals
    ) -> jax.Array:
        """The gap summed over the ensemble, `[B]`, which the guide blends."""
        return self.gaps(params, batch, proposals).sum(axis=0)

    def actor_loss(self, params, state, batch, keys):
        mean, log_std = self.actor.apply(params, batch.observations)
        actions, log_probs = distributions.sample_tanh_gaussian(
            keys.policy, mean, log_std, None
        )
        q = self.q(state.critic.params, batch.observations, actions)
        temperature = jnp.exp(state.log_temperature.params)
        loss = losses.soft_actor_loss(log_probs, q, temperature)
        return loss, (log_probs, {"actor_loss": loss, "log_prob": log_probs.mean()})

    def temperature_loss(self, log_temperature, log_probs):
        loss = losses.temperature_loss(log_temperature, log_probs, -self.action_size)
        metrics = {"temperature_loss": loss, "temperature": jnp.exp(log_temperature)}
        return loss, metrics

    def critic_loss(self, params, inputs, guide):
        state, batch, targets, keys = inputs
        q = self.critic.apply(params, batch.observations, batch.actions)
        td_loss = losses.td_loss(q, targets)
        metrics = {"td_loss": td_loss, "q": q.mean(), "target": targets.mean()}
        if not self.config.cql_weight:
            return td_loss, metrics
        proposals = self.proposals(state, batch, keys.proposals)
        gap_guide = guide if self.config.guided_penalty else unguided
        gap = gap_guide(self.total_gap)(params, batch, proposals).mean()
        if self.config.lagrange_gap is not None:
            # The gap is a sum over the ensemble, so its target counts once per critic.
            gap = gap - q.shape[0] * self.config.lagrange_gap
        penalty = self.config.cql_weight * gap
        multiplier = self.multiplier(state.log_multiplier.params)
        loss = td_loss + jax.lax.stop_gradient(multiplier) * penalty
        return loss, {**metrics, "critic_loss": loss, "penalty": penalty}

    def multiplier(self, log_multiplier):
        """The factor on the penalty; 1 without `lagrange_gap`."""
        if self.config.lagrange_gap is None:
            return jnp.ones(())
        return jnp.clip(jnp.exp(log_multiplier), 0.0, 1e6)

    def update_multiplier(self, model, critic_metrics):
        """Raise the multiplier if the gap exceeds its target, else lower it."""
        if not self.config.cql_weight or self.config.lagrange_gap is None:
            return model, {}

        def loss(log_multiplier):
            multiplier = self.multiplier(log_multiplier)
            penalty = critic_metrics["penalty"]
            return losses.multiplier_loss(multiplier, penalty), {
                "multiplier": multiplier
            }

        return optimization.gradient_step(loss, model, self.critic_optimizer)

    def values(self, params: Params, batch: Batch) -> jax.Array:
        return self.q(params, batch.observations, batch.actions)

    def q_values(self, state: State, batch: Batch) -> jax.Array:
        critic = state.critic.params
        return self.critic.apply(critic, batch.observations, batch.actions)

    def value_params(self, state: State) -> Params:
        return state.target_critic

    def online_value_params(self, state: State) -> Params:
        return state.critic.params

    def online(self) -> CQL:
        weight = self.config.cql_weight_online
        config = dataclasses.replace(
            self.config,
            calibrated=self.config.calibrated and self.config.calibrated_online,
            cql_weight=self.config.cql_weight if weight is None else weight,
        )
        return dataclasses.replace(self, config=config)

    def start_online(self, state: State) -> State:
        return state

    def explore(
        self, state: State, observations: jax.Array, key: chex.PRNGKey
    ) -> jax.Array:
        mean, log_std = self.actor.apply(state.actor.params, observations)
        actions, _ = distributions.sample_tanh_gaussian(key, mean, log_std, None)
        return actions

    def act(self, state: State, observations: jax.Array) -> jax.Array:
        mean, _ = self.actor.apply(state.actor.params, observations)
        return jnp.tanh(mean)


def initializations(name: str) -> dict[str, networks.Init]:
    """The initializers of actor and critic in one of CORL's two scripts.

    The offline script applies its orthogonal switch to the critics alone and keeps
    their heads small. The fine-tuning script applies it to all networks and scales
    the heads by sqrt(2), like the other layers.
    """
    orthogonal = networks.orthogonal_init(math.sqrt(2.0))
    if name == "offline":
        return {
            "actor_hidden": networks.default_init,
            "actor_head": networks.xavier_init(0.01),
            "critic_hidden": orthogonal,
            "critic_head": networks.orthogonal_init(0.01),
        }
    if name == "finetune":
        return dict.fromkeys(
            ["actor_hidden", "actor_head", "critic_hidden", "critic_head"], orthogonal
        )
    raise checks.UserError(
        f"Unknown initialization {name!r} of CQL. Known are 'offline' and 'finetune'. "
        "Set config.agent.initialization to one of them."
    )


def make_critic(
    config: Config, hidden_init: networks.Init, head_init: networks.Init
) -> nn.Module:
    """Two critics as one module, `[E, ...]`, of equal size unless configured."""
    first, second = config.critic_hidden_dims, config.second_critic_hidden_dims
    if second is None:
        return networks.critic_ensemble(
            first, hidden_init=hidden_init, head_init=head_init
        )
    return networks.UnequalCritics((first, second), hidden_init, head_init)


def make(config: Config, action_size: int) -> CQL:
    """CQL for actions of `action_size` dimensions."""
    init = initializations(config.initialization)
    return CQL(
        config=config,
        action_size=action_size,
        actor=networks.TanhGaussianActor(
            config.actor_hidden_dims,
            action_size,
            init["actor_hidden"],
            init["actor_head"],
        ),
        critic=make_critic(config, init["critic_hidden"], init["critic_head"]),
        actor_optimizer=optimization.adam(config.actor_learning_rate),
        critic_optimizer=optimization.adam(config.critic_learning_rate),
    )
