"""The state-action C-VAE, whose latent measures how familiar a pair (s, a) is."""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from samg_jax import checks, distributions, losses, networks, optimization, settings
from samg_jax.types import Metrics, ModelState, Params, shared

CONSTANT_STD = 1e-3  # A target with a smaller standard deviation is not scaled up.


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the C-VAE.

    Attributes:
        hidden_dim: The width of every hidden layer of the C-VAE.
        encoder_layers: The number of hidden layers of the encoder.
        decoder_layers: The number of hidden layers of the decoder; 1 is the paper's
            simplified decoder, None takes the paper's number for the dataset.
        latent_size: The size Z of the latent; None takes the preset's, which in `paper`
            is twice the action size.
        beta: The weight of the KL term; a larger one pulls all pairs together, a
            smaller one lets the latent spread.
        learning_rate: The step size of Adam for the C-VAE.
        batch_size: The number of rows in each update of the C-VAE.
        steps: The number of updates that train the C-VAE.
        kl_warmup_start: The number of first updates without a KL term; None takes the
            paper's number for the dataset.
        kl_warmup_steps: The number of updates over which the KL weight then rises
            linearly to `beta`; None takes the paper's number for the dataset.
        decoder_input: The decoder's input: `latent`, or `latent_and_pair` for the
            latent with state and action, which tends to collapse.
        reconstruct: What the decoder predicts: `next_state`, or `next_state_action` for
            the next state and the action.
        scale_targets: Whether each predicted dimension counts by its inverse variance.
        action_weight: The factor on the squared errors of a predicted action; a larger
            one makes the weight notice unusual actions.
        holdout: The share of the offline rows that test the encoder and do not train
            it.
    """

    hidden_dim: int = settings.count(400, 1)
    encoder_layers: int = settings.count(2, 1)
    decoder_layers: int = settings.count(2, 1, filled=True)
    latent_size: int | None = settings.count(None, 1, filled=True)
    beta: float = settings.number(0.5, 0, filled=True)
    learning_rate: float = settings.number(1e-3, 0, open=True)
    batch_size: int = settings.count(256, 1)
    steps: int = settings.count(100_000, 0)
    kl_warmup_start: int = settings.count(0, 0, filled=True)
    kl_warmup_steps: int = settings.count(0, 0, filled=True)
    decoder_input: str = settings.choice(
        "latent", "latent", "latent_and_pair", filled=True
    )
    reconstruct: str = settings.choice(
        "next_state", "next_state", "next_state_action", filled=True
    )
    scale_targets: bool = settings.field(False, filled=True)
    action_weight: float = settings.number(1.0, 0, open=True, filled=True)
    holdout: float = settings.number(0.05, 0, 1, open=True)

    def __post_init__(self):
        settings.check(type(self), vars(self), "config.guidance.cvae.")


class Decoder(nn.Module):
    """The decoder: the latent, and optionally the pair, to the reconstruction."""

    hidden_dim: int
    layers: int
    target_size: int

    @nn.compact
    def __call__(self, *inputs):
        x = jnp.concatenate(inputs, axis=-1)
        for _ in range(self.layers):
            x = nn.relu(networks.dense(self.hidden_dim, x.shape[-1])(x))
        return networks.dense(self.target_size, x.shape[-1], name="target")(x)


class State(struct.PyTreeNode):
    """Everything the C-VAE learns, and the scale of its targets.

    Attributes:
        step: `[]` number of updates taken.
        model: parameters of encoder and decoder.
        target_scale: weight of each reconstructed dimension, `[O]` or `[O + A]`.
    """

    step: jax.Array = shared()
    model: ModelState
    target_scale: jax.Array


@dataclasses.dataclass(frozen=True)
class CVAE:
    """The state-action C-VAE of SAMG (2024), Eq. 2.

    Observations and actions are raw: with normalized ones the encoder collapses.
    """

    config: Config
    observation_size: int
    action_size: int

    @property
    def latent_size(self) -> int:
        return self.config.latent_size or 2 * self.action_size

    @property
    def target_size(self) -> int:
        with_action = self.config.reconstruct == "next_state_action"
        return self.observation_size + with_action * self.action_size

    @property
    def encoder(self) -> networks.GaussianEncoder:
        widths = (self.config.hidden_dim,) * self.config.encoder_layers
        return networks.GaussianEncoder(widths, self.latent_size)

    @property
    def decoder(self) -> Decoder:
        config = self.config
        return Decoder(config.hidden_dim, config.decoder_layers, self.target_size)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optimization.adam(self.config.learning_rate)

    def init(self, key: chex.PRNGKey, target_scale: jax.Array | None = None) -> State:
        """A fresh state; `measure_target_scale` computes `target_scale`."""
        if target_scale is None:
            if self.config.scale_targets:
                raise checks.UserError(
                    "config.guidance.cvae.scale_targets is True, but no target_scale "
                    f"was given. It needs an array [{self.target_size}]. Pass what "
                    "measure_target_scale returns for the offline data."
                )
            target_scale = jnp.ones(self.target_size)
        chex.assert_shape(target_scale, (self.target_size,))
        encoder_key, decoder_key = jax.random.split(key)
        sizes = self.latent_size, self.observation_size, self.action_size
        latents, observations, actions = (jnp.zeros((1, size)) for size in sizes)
        inputs = self._decoder_inputs(latents, observations, actions)
        params = {
            "encoder": self.encoder.init(encoder_key, observations, actions),
            "decoder": self.decoder.init(decoder_key, *inputs),
        }
        model = optimization.create(params, self.optimizer)
        # The state may be donated, so it gets a copy.
        return State(jnp.zeros((), jnp.int32), model, jnp.array(target_scale))

    def measure_target_scale(
        self, actions: jax.Array, next_observations: jax.Array
    ) -> np.ndarray:
        """The inverse variance of each target, or ones if targets are not scaled.

        The host computes it in float64. A target that hardly varies keeps 1, because
        its inverse variance would dominate all others.

        Args:
            actions: `[M, A]`, all actions of the offline data.
            next_observations: `[M, O]`.

        Returns:
            `[O]` or `[O + A]`.
        """
        if not self.config.scale_targets:
            return np.ones(self.target_size, np.float32)
        columns = [*np.asarray(next_observations).T, *np.asarray(actions).T]
        columns = columns[: self.target_size]
        variances = np.array([column.var(dtype=np.float64) for column in columns])
        variances[variances < CONSTANT_STD**2] = 1.0
        return (1.0 / variances).astype(np.float32)

    def encode(
        self, params: Params, observations: jax.Array, actions: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Means `[B, Z]` and standard deviations `[B, Z]` of the latent.

        The pairs are raw observations `[B, O]` and actions `[B, A]`.
        """
        chex.assert_shape(observations, (None, self.observation_size))
        chex.assert_shape(actions, (observations.shape[0], self.action_size))
        return self.encoder.apply(params["encoder"], observations, actions)

    def beta(self, step: jax.Array) -> jax.Array:
        """The weight of the KL term after `step` updates."""
        since = step - self.config.kl_warmup_start
        if self.config.kl_warmup_steps == 0:
            return self.config.beta * jnp.where(since >= 0, 1.0, 0.0)
        return self.config.beta * jnp.clip(since / self.config.kl_warmup_steps, 0, 1)

    def loss(
        self,
        params: Params,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        target_scale: jax.Array,
        beta: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[jax.Array, Metrics]:
        """Negative evidence bound with one latent sample, and metrics."""
        chex.assert_equal_shape([observations, next_observations])
        means, stds = self.encode(params, observations, actions)
        latents = distributions.sample_gaussian(key, means, stds)
        inputs = self._decoder_inputs(latents, observations, actions)
        predictions = self.decoder.apply(params["decoder"], *inputs)
        targets = next_observations
        if self.config.reconstruct == "next_state_action":
            targets = jnp.concatenate([next_observations, actions], axis=-1)
        # The action's dimensions, if reconstructed, follow the next state's.
        action = slice(self.observation_size, None)
        scale = target_scale.at[action].multiply(self.config.action_weight)
        reconstruction = jnp.mean(scale * jnp.square(predictions - targets))
        kl = jnp.mean(losses.kl_divergence(means, stds))
        loss = reconstruction + beta * kl
        metrics = {"reconstruction": reconstruction, "kl": kl, "beta": beta}
        return loss, {"loss": loss, **metrics}

    def update(
        self,
        state: State,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[State, Metrics]:
        """Take one gradient step; returns the new state and scalar metrics.

        Rows are raw, `[B, O]`, `[B, A]` and `[B, O]`; `key` draws the latent samples.
        """
        inputs = observations, actions, next_observations, state.target_scale
        model, metrics = optimization.gradient_step(
            self.loss,
            state.model,
            self.optimizer,
            *inputs,
            self.beta(state.step),
            key,
        )
        return state.replace(step=state.step + 1, model=model), metrics

    def _decoder_inputs(self, latents, observations, actions):
        if self.config.decoder_input == "latent":
            return (latents,)
        return latents, observations, actions
