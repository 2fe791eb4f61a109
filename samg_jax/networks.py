"""Networks of the algorithms, with CORL's layer sizes and initializations.

Each initialization of a dense layer that appears in CORL has a function here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from samg_jax import distributions

# Bounds on the log standard deviation of a latent vector, from BCQ.
LATENT_LOG_STDS = (-4.0, 15.0)

# An initialization maps the number of inputs to the initializers of kernel and bias.
Init = Callable[[int], tuple[nn.initializers.Initializer, nn.initializers.Initializer]]


def uniform(bound: float) -> nn.initializers.Initializer:
    """An initializer that draws from U(-bound, bound)."""

    def draw(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def default_init(inputs: int):
    """PyTorch's default: kernel and bias from U(-1/sqrt(inputs), 1/sqrt(inputs))."""
    bound = 1.0 / np.sqrt(inputs)
    return uniform(bound), uniform(bound)


def orthogonal_init(gain: float) -> Init:
    """An orthogonal kernel with gain `gain`, and a bias of zero."""
    initializer = nn.initializers.orthogonal(gain)

    def draw(key, shape, dtype=jnp.float32):
        # One ensemble member is drawn after the other: on a CPU with few cores, two
        # batched QR decompositions can deadlock, each waiting for the other's threads.
        one = jax.custom_batching.sequential_vmap(
            lambda k: initializer(k, shape, dtype)
        )
        return one(key)

    return lambda inputs: (draw, nn.initializers.zeros)


def xavier_init(gain: float) -> Init:
    """Xavier's uniform kernel with gain `gain`, and a bias of zero."""
    kernel = nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")
    return lambda inputs: (kernel, nn.initializers.zeros)


def uniform_init(bound: float) -> Init:
    """Kernel and bias from U(-bound, bound), for any number of inputs."""
    return lambda inputs: (uniform(bound), uniform(bound))


def dense(
    features: int, inputs: int, init: Init = default_init, name: str | None = None
) -> nn.Dense:
    """A dense layer from `inputs` to `features`, initialized by `init`."""
    kernel_init, bias_init = init(inputs)
    return nn.Dense(features, kernel_init=kernel_init, bias_init=bias_init, name=name)


class MLP(nn.Module):
    """ReLU layers and a linear head: `[..., I]` to `[..., outputs]`."""

    hidden_dims: Sequence[int]
    outputs: int
    hidden_init: Init = default_init
    head_init: Init = default_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.hidden_dims:
            x = nn.relu(dense(width, x.shape[-1], self.hidden_init)(x))
        return dense(self.outputs, x.shape[-1], self.head_init)(x)


class Critic(nn.Module):
    """Q(s, a): `[..., O]` and `[..., A]` to `[...]`."""

    hidden_dims: Sequence[int]
    hidden_init: Init = default_init
    head_init: Init = default_init

    @nn.compact
    def __call__(self, observations: jax.Array, actions: jax.Array) -> jax.Array:
        inputs = jnp.concatenate([observations, actions], axis=-1)
        mlp = MLP(self.hidden_dims, 1, self.hidden_init, self.head_init)
        return jnp.squeeze(mlp(inputs), axis=-1)


def critic_ensemble(
    hidden_dims: Sequence[int],
    size: int = 2,
    hidden_init: Init = default_init,
    head_init: Init = default_init,
) -> nn.Module:
    """Independent critics as one module: `[..., O]`, `[..., A]` to `[E, ...]`.

    The ensemble is the leading axis of every parameter, so that one batched product
    serves all members.
    """
    ensemble = nn.vmap(
        Critic,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        out_axes=0,
        axis_size=size,
    )
    return ensemble(tuple(hidden_dims), hidden_init, head_init)


class UnequalCritics(nn.Module):
    """Independent critics of different sizes: `[..., O]`, `[..., A]` to `[E, ...]`.

    Each member has its own parameters and its own matrix products; critics of equal
    size are faster as `critic_ensemble`.
    """

    hidden_dims: Sequence[Sequence[int]]
    hidden_init: Init = default_init
    head_init: Init = default_init

    @nn.compact
    def __call__(self, observations: jax.Array, actions: jax.Array) -> jax.Array:
        members = [
            Critic(tuple(widths), self.hidden_init, self.head_init)
            for widths in self.hidden_dims
        ]
        return jnp.stack([member(observations, actions) for member in members])


class Value(nn.Module):
    """V(s): `[..., O]` to `[...]`."""

    hidden_dims: Sequence[int]

    @nn.compact
    def __call__(self, observations: jax.Array) -> jax.Array:
        return jnp.squeeze(MLP(self.hidden_dims, 1)(observations), axis=-1)


class DeterministicActor(nn.Module):
    """One action per observation, in [-1, 1]: `[..., O]` to `[..., A]`."""

    hidden_dims: Sequence[int]
    action_size: int
    head_init: Init = default_init

    @nn.compact
    def __call__(self, observations: jax.Array) -> jax.Array:
        mlp = MLP(self.hidden_dims, self.action_size, head_init=self.head_init)
        return jnp.tanh(mlp(observations))


class GaussianActor(nn.Module):
    """Mean from the observation, one log-std per dimension: AWAC's and IQL's policy.

    Returns the mean `[..., A]`, not squashed, and the clipped log-std `[A]`.
    """

    hidden_dims: Sequence[int]
    action_size: int

    @nn.compact
    def __call__(self, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean = MLP(self.hidden_dims, self.action_size)(observations)
        log_std = self.param("log_std", nn.initializers.zeros, (self.action_size,))
        low, high = distributions.LOG_STD_MIN, distributions.LOG_STD_MAX
        return mean, jnp.clip(log_std, low, high)


class TanhGaussianActor(nn.Module):
    """Mean and log-std from the observation, before tanh: SAC's and CQL's policy.

    The raw log-std is scaled and shifted by two learned scalars, which start at
    `log_std_multiplier` and `log_std_offset`. Both results are `[..., A]`.
    """

    hidden_dims: Sequence[int]
    action_size: int
    hidden_init: Init = default_init
    head_init: Init = default_init
    log_std_multiplier: float = 1.0
    log_std_offset: float = -1.0

    @nn.compact
    def __call__(self, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
        mlp = MLP(
            self.hidden_dims, 2 * self.action_size, self.hidden_init, self.head_init
        )
        mean, raw = jnp.split(mlp(observations), 2, axis=-1)
        constant = functools.partial(nn.initializers.constant, dtype=jnp.float32)
        multiplier = self.param("multiplier", constant(self.log_std_multiplier), ())
        offset = self.param("offset", constant(self.log_std_offset), ())
        low, high = distributions.LOG_STD_MIN, distributions.LOG_STD_MAX
        return mean, jnp.clip(multiplier * raw + offset, low, high)


class GaussianEncoder(nn.Module):
    """(s, a) to mean and standard deviation of a latent vector, both `[..., Z]`."""

    hidden_dims: Sequence[int]
    latent_size: int

    @nn.compact
    def __call__(
        self, observations: jax.Array, actions: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        x = jnp.concatenate([observations, actions], axis=-1)
        for width in self.hidden_dims:
            x = nn.relu(dense(width, x.shape[-1])(x))
        means = dense(self.latent_size, x.shape[-1], name="mean")(x)
        log_stds = dense(self.latent_size, x.shape[-1], name="log_std")(x)
        return means, jnp.exp(jnp.clip(log_stds, *LATENT_LOG_STDS))
