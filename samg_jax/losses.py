"""The formulas of the algorithms: arrays in, arrays out, and no networks.

chex asserts the shapes, which costs nothing after tracing.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp


def td_targets(
    rewards: jax.Array, masks: jax.Array, next_values: jax.Array, discount: float
) -> jax.Array:
    """One-step targets `r + discount * mask * V(s')`, without gradient.

    Args:
        rewards: `[B]`.
        masks: `[B]`, 0 at true terminals and 1 elsewhere.
        next_values: `[B]`.
        discount: The discount, in (0, 1).

    Returns:
        `[B]`.
    """
    chex.assert_rank([rewards, masks, next_values], 1)
    chex.assert_equal_shape([rewards, masks, next_values])
    return jax.lax.stop_gradient(rewards + discount * masks * next_values)


def td_loss(q: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared TD error: a mean over the batch, a sum over the ensemble.

    Args:
        q: `[E, B]`.
        targets: `[B]`, shared by the ensemble.

    Returns:
        Scalar.
    """
    chex.assert_rank([q, targets], [2, 1])
    chex.assert_equal_shape_suffix([q, targets], 1)
    return jnp.sum(jnp.mean(jnp.square(q - targets), axis=-1))


def exponential_weights(
    advantages: jax.Array, inverse_temperature: float, max_weight: float
) -> jax.Array:
    """AWR weights `min(exp(inverse_temperature * advantage), max_weight)`, no gradient.

    From advantage-weighted regression (Peng et al. 2019; AWAC, Nair et al.
    2020, Eq. 9), not normalized over the batch, as in CORL.

    Args:
        advantages: `[B]`.
        inverse_temperature: `1 / lambda` in AWAC, `beta` in IQL.
        max_weight: The cap that keeps single samples from dominating.

    Returns:
        `[B]`.
    """
    chex.assert_rank(advantages, 1)
    # The exponent is capped instead of its value: exp would first overflow to inf.
    exponents = jnp.minimum(inverse_temperature * advantages, jnp.log(max_weight))
    return jax.lax.stop_gradient(jnp.exp(exponents))


def weighted_regression_loss(log_probs: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted negative log-likelihood of the batch's actions.

    Args:
        log_probs: `[B]` log pi(a | s) of the actions in the batch.
        weights: `[B]`, no gradient flows through them.

    Returns:
        Scalar.
    """
    chex.assert_rank([log_probs, weights], 1)
    chex.assert_equal_shape([log_probs, weights])
    return -jnp.mean(jax.lax.stop_gradient(weights) * log_probs)


def expectile_loss(
    values: jax.Array, targets: jax.Array, expectile: float
) -> jax.Array:
    """Asymmetric squared error that fits an expectile of the targets.

    IQL (Kostrikov et al. 2021, Eq. 5): the square of `targets - values` counts
    `expectile` where it is positive, `1 - expectile` where it is negative.

    Args:
        values: `[B]` predictions.
        targets: `[B]`; no gradient flows through them.
        expectile: The expectile, in (0, 1); above 0.5 leans toward the largest targets.

    Returns:
        Scalar.
    """
    chex.assert_rank([values, targets], 1)
    chex.assert_equal_shape([values, targets])
    errors = jax.lax.stop_gradient(targets) - values
    asymmetry = jnp.where(errors < 0, 1.0 - expectile, expectile)
    return jnp.mean(asymmetry * jnp.square(errors))


def squared_errors(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared error of each row, a mean over its dimensions.

    Args:
        predictions: `[B, A]`.
        targets: `[B, A]`.

    Returns:
        `[B]`.
    """
    chex.assert_rank([predictions, targets], 2)
    chex.assert_equal_shape([predictions, targets])
    return jnp.mean(jnp.square(predictions - targets), axis=-1)


def normalized_value_loss(q: jax.Array) -> jax.Array:
    """Minus the mean of Q, divided by its mean absolute value.

    TD3+BC (Fujimoto and Gu 2021, Eq. 5): the unit makes the weight of a regularizer
    beside it independent of the scale of rewards. No gradient flows through it.

    Args:
        q: `[B]` values of the policy's actions.

    Returns:
        Scalar, in [-1, 1].
    """
    chex.assert_rank(q, 1)
    return -jnp.mean(q) / jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))


def soft_actor_loss(
    log_probs: jax.Array, q: jax.Array, temperature: jax.Array
) -> jax.Array:
    """SAC's policy loss, `mean(temperature * log pi - Q)`.

    Haarnoja et al. 2018, Eq. 7, with reparameterized actions.

    Args:
        log_probs: `[B]` log-densities of the sampled actions.
        q: `[B]` minimum over the ensemble at the same actions.
        temperature: The scalar entropy weight; no gradient flows through it.

    Returns:
        Scalar.
    """
    chex.assert_rank([log_probs, q, temperature], [1, 1, 0])
    chex.assert_equal_shape([log_probs, q])
    return jnp.mean(jax.lax.stop_gradient(temperature) * log_probs - q)


def temperature_loss(
    log_temperature: jax.Array, log_probs: jax.Array, target_entropy: float
) -> jax.Array:
    """Loss that steers the policy's entropy toward its target.

    Linear in the logarithm of the temperature, as CORL has it (SAC's paper is linear
    in the temperature itself; the sign of the gradient is the same).

    Args:
        log_temperature: The scalar logarithm of the temperature.
        log_probs: `[B]`, no gradient flows through them.
        target_entropy: The target, usually minus the number of action dimensions.

    Returns:
        Scalar.
    """
    chex.assert_rank([log_temperature, log_probs], [0, 1])
    excess = jax.lax.stop_gradient(log_probs + target_entropy)
    return -jnp.mean(log_temperature * excess)


def conservative_gaps(
    sampled_q: jax.Array,
    data_q: jax.Array,
    log_densities: jax.Array,
    softmax_temperature: float,
    clip: tuple[float, float],
) -> jax.Array:
    """Gap by which a soft maximum of Q exceeds the value of the data's actions.

    CQL(H) with importance sampling (Kumar et al. 2020, Eq. 4 and Appendix F): the
    log-sum-exp over sampled actions of `Q - log density`, less `Q(s, a)` of the data.
    There is no `log N` term, as in CORL.

    Args:
        sampled_q: `[N, E, B]` values of the sampled actions.
        data_q: `[E, B]` values of the actions in the data.
        log_densities: `[N, B]` log-density that each sampled action was drawn from.
        softmax_temperature: 1 gives the plain log-sum-exp.
        clip: The lower and the upper bound of the gap, per sample.

    Returns:
        `[E, B]`.
    """
    chex.assert_rank([sampled_q, data_q, log_densities], [3, 2, 2])
    chex.assert_equal_shape_suffix([sampled_q, data_q], 2)
    chex.assert_shape(log_densities, (sampled_q.shape[0], data_q.shape[1]))
    scores = (sampled_q - log_densities[:, None, :]) / softmax_temperature
    soft_maximum = softmax_temperature * jax.nn.logsumexp(scores, axis=0)
    return jnp.clip(soft_maximum - data_q, *clip)


def calibrated(q: jax.Array, mc_returns: jax.Array) -> jax.Array:
    """Values bounded from below by what the data's policy earned.

    Cal-QL (Nakamoto et al. 2023, Eq. 5.1).

    Args:
        q: `[N, E, B]` values of the policy's actions.
        mc_returns: `[B]` returns-to-go; minus infinity where there is no bound.

    Returns:
        `[N, E, B]`.
    """
    chex.assert_rank([q, mc_returns], [3, 1])
    chex.assert_equal_shape_suffix([q, mc_returns], 1)
    return jnp.maximum(q, mc_returns)


def multiplier_loss(multiplier: jax.Array, penalty: jax.Array) -> jax.Array:
    """Dual loss that raises the multiplier where the penalty is positive.

    The dual step of CQL with a Lagrange multiplier (Kumar et al. 2020, Eq. 30), halved
    as in CORL.

    Args:
        multiplier: The scalar multiplier.
        penalty: The scalar excess of the gap over its target, without gradient.

    Returns:
        Scalar.
    """
    chex.assert_rank([multiplier, penalty], 0)
    return -0.5 * multiplier * jax.lax.stop_gradient(penalty)


def cooled_weight(weight: float, progress: jax.Array, floor: float) -> jax.Array:
    """Weight that falls linearly with progress, down to a fixed share of itself.

    SPOT's online phase (Wu et al. 2022, Section 4.3).

    Args:
        weight: The weight at the start.
        progress: The scalar progress: 0 at the start, 1 where the line reaches 0.
        floor: The share of the weight that remains.

    Returns:
        Scalar.
    """
    return weight * jnp.maximum(1.0 - progress, floor)


def evidence_loss(errors: jax.Array, kl: jax.Array, beta: float) -> jax.Array:
    """Negative evidence bound of a variational autoencoder, with a weighted KL term.

    Args:
        errors: `[B]` reconstruction errors.
        kl: `[B]` from `kl_divergence`.
        beta: The weight of `kl`.

    Returns:
        Scalar.
    """
    chex.assert_rank([errors, kl], 1)
    chex.assert_equal_shape([errors, kl])
    return jnp.mean(errors + beta * kl)


def kl_divergence(means: jax.Array, stds: jax.Array) -> jax.Array:
    """KL(N(means, stds^2) || N(0, 1)), averaged over latent dimensions.

    The regularizer of variational autoencoders (Kingma and Welling 2014).

    Args:
        means: `[B, Z]`.
        stds: `[B, Z]`.

    Returns:
        `[B]`.
    """
    chex.assert_rank([means, stds], 2)
    chex.assert_equal_shape([means, stds])
    terms = 0.5 * (jnp.square(means) + jnp.square(stds) - 1.0) - jnp.log(stds)
    return jnp.mean(terms, axis=-1)
