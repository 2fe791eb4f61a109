"""The offline phase: pre-training, then the fit of the weight model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from samg_jax import losses
from samg_jax.data import transitions
from samg_jax.guidance import collapse, cvae, nearest, normals, weights
from samg_jax.training import parts as parts_lib
from samg_jax.training import seeds as seeds_lib
from samg_jax.training.parts import Parts, Preprocessing
from samg_jax.types import Metrics

# Rows on which the fitted C-VAE is examined at most.
HEALTH_ROWS = 20_000


class State(struct.PyTreeNode):
    """Everything the offline phase produces, for all seeds; arrays only.

    Attributes:
        seeds: `[S]` values of the seeds.
        agent: the algorithm's state, stacked over seeds.
        cvae: state of the C-VAE, stacked over seeds; `()` where there is none.
        weight: `weights.CVAEWeight` stacked over seeds, zeros until fitted; or `()`.
        threshold: `[S]` quantile of p_int over the offline data, if configured.
        preprocessing: normaliser and reward transform, shared.
        alive: `[S]` whether the seed has stayed finite.
        failed_step: `[S]` update at which it did not, -1 otherwise.
    """

    seeds: jax.Array
    agent: Any
    cvae: Any
    weight: Any
    threshold: jax.Array
    preprocessing: Preprocessing
    alive: jax.Array
    failed_step: jax.Array


def init(parts: Parts, preprocessing: Preprocessing, target_scale: Any = None) -> State:
    """Returns the state before the first update.

    Args:
        parts: of the experiment.
        preprocessing: fitted to the data.
        target_scale: of the C-VAE, from `measure_target_scale`; None for ones.
    """
    # Compiled as one program; layer by layer it would take several times as long.
    return jax.jit(functools.partial(_init, parts))(
        jnp.asarray(parts.seeds), preprocessing, target_scale
    )


def _init(parts, values, preprocessing, target_scale):
    observations = jnp.zeros((1, parts.task.observation_size))

    def agent(seed):
        return parts.algorithm.init(seeds_lib.stream(seed, "init"), observations)

    def model(seed):
        return parts.cvae.init(seeds_lib.stream(seed, "cvae init"), target_scale)

    count = len(parts.seeds)
    cvae_state = weight = ()
    if parts.cvae is not None:
        cvae_state = seeds_lib.share_steps(jax.vmap(model)(values))
        weight = _empty_weight(parts.cvae, cvae_state.model.params, count)
    return State(
        seeds=jnp.copy(values),
        agent=seeds_lib.share_steps(jax.vmap(agent)(values)),
        cvae=cvae_state,
        weight=weight,
        threshold=jnp.zeros(count),
        preprocessing=jax.tree.map(jnp.copy, preprocessing),
        alive=jnp.ones(count, bool),
        failed_step=jnp.full(count, -1, jnp.int32),
    )


def _empty_weight(model: cvae.CVAE, params: Any, count: int) -> weights.CVAEWeight:
    size = model.latent_size
    vectors = {
        name: jnp.zeros((count, size))
        for name in ("mean_mu", "mean_sigma", "std_mu", "std_sigma", "joint_mu")
    }
    fitted = normals.Normals(
        **vectors,
        joint_factor=jnp.zeros((count, size, size)),
        nearest=jax.tree.map(
            lambda leaf: jnp.zeros((count, *leaf.shape)), nearest.empty(size)
        ),
    )
    return weights.CVAEWeight(jax.tree.map(jnp.zeros_like, params), fitted)


def make_updates(parts: Parts, batch_size: int) -> Callable[..., tuple[State, Metrics]]:
    """Returns `(state, dataset, start, length) -> (state, metrics)` of the algorithm.

    One compiled scan over `length` updates of all seeds; the state is donated.
    Metrics are means over the scan, `[S]` each.
    """

    def update(seed, agent, step, dataset, preprocessing):
        key = seeds_lib.stream(seed, "offline", step)
        batch_key, update_key = jax.random.split(key)
        rows = jax.random.randint(batch_key, (batch_size,), 0, len(dataset.rewards))
        batch = preprocessing(parts_lib.as_batch(dataset, rows))
        return parts.algorithm.update(agent, batch, update_key)

    return _scanned("agent", update)


def make_cvae_updates(parts: Parts) -> Callable[..., tuple[State, Metrics]]:
    """Returns the same as `make_updates` for the C-VAE.

    The function is `(state, (dataset, rows), start, length)`, `rows` being those that
    it may train on.
    """
    batch_size = parts.guidance.cvae.batch_size

    def update(seed, model, step, inputs, preprocessing):
        del preprocessing  # The C-VAE sees raw data.
        dataset, rows = inputs
        key = seeds_lib.stream(seed, "cvae", step)
        batch_key, update_key = jax.random.split(key)
        chosen = rows[jax.random.randint(batch_key, (batch_size,), 0, len(rows))]
        return parts.cvae.update(
            model,
            dataset.observations[chosen],
            dataset.actions[chosen],
            dataset.next_observations[chosen],
            update_key,
        )

    return _scanned("cvae", update)


def _scanned(field: str, update: Callable[..., tuple[Any, Metrics]]):
    """Returns the compiled scan of guarded updates of one field of the state."""

    def guarded(seed, model, alive, step, inputs, preprocessing):
        new, metrics = update(seed, model, step, inputs, preprocessing)
        model, alive = seeds_lib.guard(model, new, metrics, alive)
        return model, alive, metrics

    def body(inputs, state, step):
        model = getattr(state, field)
        axes = seeds_lib.axes(model)
        batched = jax.vmap(
            guarded, in_axes=(0, axes, 0, None, None, None), out_axes=(axes, 0, 0)
        )
        model, alive, metrics = batched(
            state.seeds, model, state.alive, step, inputs, state.preprocessing
        )
        failed = jnp.where(state.alive & ~alive, step, state.failed_step)
        changes = {field: model, "alive": alive, "failed_step": failed}
        return state.replace(**changes), metrics

    @functools.partial(jax.jit, static_argnames="length", donate_argnums=0)
    def updates(state: State, inputs, start, *, length: int):
        steps = start + jnp.arange(length)
        state, metrics = jax.lax.scan(functools.partial(body, inputs), state, steps)
        return state, jax.tree.map(lambda values: values.mean(axis=0), metrics)

    return updates


def fit_weight(
    parts: Parts, state: State, dataset: transitions.Dataset
) -> tuple[State, dict[str, np.ndarray]]:
    """Returns the state with the fitted weight model, and a report, `[S]` each.

    Pushes all offline pairs through the encoder, fits the normals, and examines the
    encoder on the rows held out from its training.
    """
    model = parts.cvae
    params = state.cvae.model.params
    encode = jax.vmap(model.encode, in_axes=(0, None, None))
    rows = held_out(parts, dataset)
    fitted = normals.fit(
        encode,
        params,
        dataset.observations,
        dataset.actions,
        parts.guidance.fit,
        rows=rows.train,
    )
    weight = weights.CVAEWeight(params, fitted)

    def probabilities(weight, observations, actions):
        return weights.cvae_probabilities(
            parts.guidance, weight, parts.guidance.delta, observations, actions
        )

    batched = jax.vmap(probabilities, in_axes=(0, None, None))
    threshold = np.full(len(parts.seeds), parts.guidance.threshold, np.float32)
    if parts.guidance.threshold_quantile is not None:
        p_int = weights.offline_probabilities(
            batched, weight, dataset.observations, dataset.actions
        )
        threshold = weights.offline_threshold(parts.guidance, p_int)
    state = state.replace(
        weight=jax.tree.map(jnp.copy, weight), threshold=jnp.asarray(threshold)
    )

    rows = rows.held_out[:: -(-len(rows.held_out) // HEALTH_ROWS)]
    observations, actions = dataset.observations[rows], dataset.actions[rows]
    p_int = np.asarray(jax.jit(batched)(weight, observations, actions))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def health(params, observations, actions):
        means, stds = model.encode(params, observations, actions)
        return collapse.health(means, losses.kl_divergence(means, stds))

    report = jax.device_get(health(params, observations, actions))
    active = (p_int >= threshold[:, None]).mean(axis=1)
    report = {**report, **weights.quantiles(p_int), "share_active": active}
    return state, {name: np.asarray(value) for name, value in report.items()}


def held_out(parts: Parts, dataset: transitions.Dataset) -> collapse.Split:
    """Returns the rows that the weight model trains on, and those held out."""
    dataset = jax.device_get(dataset)
    limit = parts.task.max_episode_steps or len(dataset.rewards)
    ends = transitions.episode_ends(dataset, limit)
    return collapse.episode_split(ends, parts.guidance.cvae.holdout)
