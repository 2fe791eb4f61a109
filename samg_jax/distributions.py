"""The policies' distributions: tanh-Gaussian, clipped Gaussian, perturbed actions.

Means and log standard deviations broadcast against leading axes of samples.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


def gaussian_log_prob(x: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """Log N(x; mean, exp(log_std)^2), summed over the last axis.

    Args:
        x: `[..., A]`.
        mean: `[..., A]`.
        log_std: `[..., A]` or `[A]`.

    Returns:
        `[...]`.
    """
    z = (x - mean) * jnp.exp(-log_std)
    return jnp.sum(-0.5 * (jnp.square(z) + jnp.log(2 * jnp.pi)) - log_std, axis=-1)


def sample_gaussian(key: chex.PRNGKey, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Samples of N(mean, std^2), `[..., A]`, through which gradients flow."""
    return mean + std * jax.random.normal(key, mean.shape, mean.dtype)


def sample_clipped_gaussian(
    key: chex.PRNGKey, mean: jax.Array, log_std: jax.Array
) -> jax.Array:
    """Samples of N(mean, std^2) clipped to [-1, 1], `[..., A]`."""
    return jnp.clip(sample_gaussian(key, mean, jnp.exp(log_std)), -1.0, 1.0)


def sample_perturbed(
    key: chex.PRNGKey, actions: jax.Array, std: float, limit: float
) -> jax.Array:
    """Actions `[..., A]` plus clipped Gaussian noise, clipped to [-1, 1].

    TD3 smooths its target policy this way (Fujimoto et al. 2018), and deterministic
    policies explore this way.

    Args:
        key: The random key; consumed.
        actions: `[..., A]`.
        std: The standard deviation of the noise before it is clipped.
        limit: The bound on the noise, which is clipped to [-limit, limit].
    """
    noise = std * jax.random.normal(key, actions.shape, actions.dtype)
    return jnp.clip(actions + jnp.clip(noise, -limit, limit), -1.0, 1.0)


def sample_tanh_gaussian(
    key: chex.PRNGKey, mean: jax.Array, log_std: jax.Array, num_samples: int | None
) -> tuple[jax.Array, jax.Array]:
    """Actions tanh(u), u ~ N(mean, std^2), and their log-densities.

    The density uses the value before tanh, so it is exact for saturated actions:
    log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).

    Args:
        key: The random key; consumed.
        mean: `[B, A]`.
        log_std: `[B, A]`.
        num_samples: The number of actions per row; None draws one, without `N`.

    Returns:
        Actions `[N, B, A]` and log-densities `[N, B]` (without `N` for None).
    """
    chex.assert_equal_shape([mean, log_std])
    shape = mean.shape if num_samples is None else (num_samples, *mean.shape)
    u = mean + jnp.exp(log_std) * jax.random.normal(key, shape, mean.dtype)
    correction = 2.0 * (jnp.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    log_probs = gaussian_log_prob(u, mean, log_std) - jnp.sum(correction, axis=-1)
    return jnp.tanh(u), log_probs
