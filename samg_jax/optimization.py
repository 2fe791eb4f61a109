"""Gradient steps on a `ModelState`, learning rates, and target networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from samg_jax.types import ModelState, Params

T = TypeVar("T")


def create(params: Params, optimizer: optax.GradientTransformation) -> ModelState:
    """The initial training state of a network with parameters `params`."""
    return ModelState(params=params, opt_state=optimizer.init(params))


def adam(learning_rate: float | optax.Schedule) -> optax.GradientTransformation:
    """Adam over all parameters as one vector, which is cheaper than by leaf.

    Every number is that of `optax.adam`, but for rounding; moments are `[P]`. On two
    cores of an Intel Xeon there are 5 % more updates of TD3+BC and IQL, 1 % more of
    AWAC.

    Args:
        learning_rate: The learning rate, or a schedule of it over the steps.
    """
    return optax.flatten(optax.adam(learning_rate))


def gradient_step(
    loss: Callable[..., tuple[jax.Array, T]],
    model: ModelState,
    optimizer: optax.GradientTransformation,
    *inputs: Any,
) -> tuple[ModelState, T]:
    """Take one step of `optimizer` down the gradient of `loss(params, *inputs)`.

    Args:
        loss: A function `(params, *inputs) -> (scalar, metrics)`; its metrics, or any
            other second result, are returned.
        model: The network to train; gradients flow to its parameters alone.
        optimizer: The optimizer that made `model.opt_state`.
        *inputs: The data of the loss.
    """
    grads, metrics = jax.grad(loss, has_aux=True)(model.params, *inputs)
    updates, opt_state = optimizer.update(grads, model.opt_state, model.params)
    params = optax.apply_updates(model.params, updates)
    return ModelState(params=params, opt_state=opt_state), metrics


def soft_update(params: Params, target: Params, tau: float) -> Params:
    """Target parameters moved by the share `tau` toward the trained ones."""
    return optax.incremental_update(params, target, tau)


def periodic_cosine(learning_rate: float, half_period: int) -> optax.Schedule:
    """A cosine schedule that falls to 0 in `half_period` steps and rises again.

    `learning_rate * (1 + cos(pi * step / half_period)) / 2`, not clamped at its first
    zero as `optax.cosine_decay_schedule` is. The square of the half angle's cosine is
    the same without the cancellation near that zero.
    """

    def schedule(step: jax.Array) -> jax.Array:
        return learning_rate * jnp.square(jnp.cos(0.5 * jnp.pi * step / half_period))

    return schedule
