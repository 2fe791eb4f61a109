"""The embedding network: its error in predicting an action measures unfamiliarity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from samg_jax import networks, optimization, settings
from samg_jax.guidance import normals
from samg_jax.types import Metrics, ModelState, Params, shared

POOR_SHARE = 0.05  # A network that explains less of the actions' variance is bad.
ACTION_SHIFT = 1.0  # Shifts actions from [-1, 1] to [0, 2], which a ReLU can output.


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the embedding network.

    Attributes:
        hidden_dim: The width of every hidden layer of the embedding network.
        layers: The number of hidden layers of the embedding phi, and of the head.
        embedding_size: The size of the embedding phi(s).
        learning_rate: The step size of Adam for the embedding network.
        batch_size: The number of rows in each update of the embedding network.
        steps: The number of updates that train the embedding network.
        holdout: The share of the offline rows that test the network and do not train
            it.
    """

    hidden_dim: int = settings.count(400, 1)
    layers: int = settings.count(1, 1)
    embedding_size: int = settings.count(32, 1)
    learning_rate: float = settings.number(1e-3, 0, open=True)
    batch_size: int = settings.count(256, 1)
    steps: int = settings.count(100_000, 0)
    holdout: float = settings.number(0.05, 0, 1, open=True)

    def __post_init__(self):
        settings.check(type(self), vars(self), "config.guidance.embedding.")


class Network(nn.Module):
    """phi(s) and phi(s'), `[..., O]` each, to the shifted action, `[..., A]`."""

    config: Config
    action_size: int

    @nn.compact
    def __call__(
        self, observations: jax.Array, next_observations: jax.Array
    ) -> jax.Array:
        widths = (self.config.hidden_dim,) * self.config.layers
        phi = networks.MLP(widths, self.config.embedding_size, name="phi")
        codes = [nn.relu(phi(x)) for x in (observations, next_observations)]
        x = jnp.concatenate(codes, axis=-1)
        for _ in range(self.config.layers):
            x = nn.relu(networks.dense(self.config.hidden_dim, x.shape[-1])(x))
        kernel_init, _ = networks.default_init(x.shape[-1])
        # The bias starts at the middle of the shifted actions: a final ReLU that starts
        # at 0 would leave half of the outputs dead, without a gradient for ever.
        bias_init = nn.initializers.constant(ACTION_SHIFT)
        head = nn.Dense(
            self.action_size, kernel_init=kernel_init, bias_init=bias_init, name="head"
        )
        return nn.relu(head(x))


class State(struct.PyTreeNode):
    """Everything the embedding network learns; arrays only.

    Attributes:
        step: `[]` number of updates taken.
        model: parameters of phi and of the head.
    """

    step: jax.Array = shared()
    model: ModelState


class EmbeddingWeight(struct.PyTreeNode):
    """The arrays that the weight "embedding" reads.

    Attributes:
        params: parameters of the network.
        mu: `[]` mean prediction error over the offline data.
        sigma: `[]` standard deviation of the prediction error.
    """

    params: Params
    mu: jax.Array
    sigma: jax.Array


@dataclasses.dataclass(frozen=True)
class EmbeddingModel:
    """A Siamese network that predicts the action between two states; a `models.Model`.

    Inverse dynamics as in Badia et al. (2020), "Never give up", for continuous
    actions: a head h(phi(s), phi(s')) with a final ReLU predicts the action, shifted
    to be non-negative. Observations are raw, as for the C-VAE.
    """

    config: Config
    observation_size: int
    action_size: int
    name: str = "embedding"
    title: str = "embedding network"

    @property
    def settings(self) -> Config:
        return self.config

    @property
    def network(self) -> Network:
        return Network(self.config, self.action_size)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optimization.adam(self.config.learning_rate)

    def measure(self, observations, actions, next_observations) -> None:
        del observations, actions, next_observations

    def init(self, key: chex.PRNGKey, measured: Any = None) -> State:
        del measured
        observations = jnp.zeros((1, self.observation_size))
        params = self.network.init(key, observations, observations)
        model = optimization.create(params, self.optimizer)
        return State(jnp.zeros((), jnp.int32), model)

    def errors(
        self,
        params: Params,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
    ) -> jax.Array:
        """Mean squared error in each transition's action, `[B]`."""
        chex.assert_equal_shape([observations, next_observations])
        predictions = self.network.apply(params, observations, next_observations)
        chex.assert_equal_shape([predictions, actions])
        return jnp.mean(jnp.square(predictions - (actions + ACTION_SHIFT)), axis=-1)

    def update(
        self,
        state: State,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[State, Metrics]:
        del key  # The update is deterministic.

        def loss(params, *rows):
            value = self.errors(params, *rows).mean()
            return value, {"loss": value}

        rows = observations, actions, next_observations
        model, metrics = optimization.gradient_step(
            loss, state.model, self.optimizer, *rows
        )
        return State(state.step + 1, model), metrics

    def empty(self, state: State) -> EmbeddingWeight:
        params = jax.tree.map(jnp.zeros_like, state.model.params)
        return EmbeddingWeight(params, jnp.zeros(()), jnp.zeros(()))

    def fit(
        self, state, observations, actions, next_observations, rows=None
    ) -> EmbeddingWeight:
        del rows  # The mean and deviation use all rows, as the C-VAE's normals do.
        params = state.model.params
        fn = jax.vmap(self.errors, in_axes=(0, None, None, None))
        columns = observations, actions, next_observations
        batches = normals.in_batches(fn, params, *columns)
        mu, sigma = normals.fit_values(errors[..., None] for errors in batches)
        return EmbeddingWeight(
            params, *(jnp.asarray(x[..., 0], jnp.float32) for x in (mu, sigma))
        )

    def examine(
        self, state, observations, actions, next_observations
    ) -> dict[str, np.ndarray]:
        rows = observations, actions, next_observations
        fn = jax.jit(jax.vmap(self.errors, in_axes=(0, None, None, None)))
        errors = np.asarray(fn(state.model.params, *rows)).mean(axis=-1)
        # The share is 0 for a network that always predicts the mean action.
        return {
            "prediction_error": errors,
            "share_explained": 1 - errors / max(np.var(actions, axis=0).mean(), 1e-12),
        }

    def describe(self, findings: Mapping[str, float]) -> str:
        return (
            f"squared error in the action {findings['prediction_error']:.4f}, share of "
            f"its variance explained {findings['share_explained']:.2f}"
        )

    def warning(self, findings: Mapping[str, float]) -> str:
        if findings["share_explained"] >= POOR_SHARE:  # NaN fails this comparison.
            return ""
        return (
            "The embedding network hardly predicts actions: on held-out data it "
            f"explains {findings['share_explained']:.3f} of their variance, so "
            "p(s, a, s') separates transitions by the size of their action only. It "
            f"should explain {POOR_SHARE} or more. Train it for longer "
            "(config.guidance.embedding.steps), or lower "
            "config.guidance.embedding.learning_rate."
        )


def probabilities(
    config: Config,
    weight: EmbeddingWeight,
    observations: jax.Array,
    actions: jax.Array,
    next_observations: jax.Array,
) -> jax.Array:
    """p_int `[B]` of transitions: the share of data with at least their error.

    This is 1 - F(u) of the standardized error. It has one tail only: a latent far from
    its center is unfamiliar on either side, but an action that is predicted better
    than most is not.

    Args:
        config: The config of the network.
        weight: The fitted weight of one seed.
        observations: `[B, O]` raw.
        actions: `[B, A]`.
        next_observations: `[B, O]` raw.
    """
    sizes = observations.shape[-1], actions.shape[-1]
    model = EmbeddingModel(config, *sizes)
    errors = model.errors(weight.params, observations, actions, next_observations)
    return jax.scipy.special.ndtr((weight.mu - errors) / weight.sigma)


def make_model(config: Any, observation_size: int, action_size: int) -> EmbeddingModel:
    """The embedding model for settings of the guidance, `weights.GuidanceConfig`."""
    return EmbeddingModel(config.embedding, observation_size, action_size)
