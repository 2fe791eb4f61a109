"""The offline phase: pre-training, then the fit of the weight model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from samg_jax.data import sampling, transitions
from samg_jax.experiment.datasets import Preprocessing
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import collapse, quantiles, weights
from samg_jax.training import devices, seed_axis
from samg_jax.types import Metrics, shared

# The most rows that examine the fitted weight.
HEALTH_ROWS = 20_000
HOLDOUT = 0.05  # The share of held-out rows for a weight without a trained model.
# Updates between two checks whether the state is finite; each check copies the state.
LOOK_EVERY = 10


class State(struct.PyTreeNode):
    """Everything the offline phase produces, for all seeds; arrays only.

    Attributes:
        seeds: `[S]` values of the seeds.
        agent: the algorithm's state, stacked over seeds.
        model: state of the weight's model, stacked over seeds; `()` without one.
        weight: fit of the weight, stacked over seeds; zeros before the fit, or `()`.
        quantiles: `[S, 1001]` quantiles of p_int over the offline data, for a
            threshold among them; see `guidance.quantiles`.
        preprocessing: normalizer and reward transform, shared.
        alive: `[S]` whether the seed has stayed finite.
        failed_step: `[S]` update after which it was not finite, -1 otherwise.
    """

    seeds: jax.Array
    agent: Any
    model: Any
    weight: Any
    quantiles: jax.Array
    preprocessing: Preprocessing = shared()
    alive: jax.Array
    failed_step: jax.Array


def init(
    experiment: Experiment, preprocessing: Preprocessing, measured: Any = None
) -> State:
    """Returns the state before the first update.

    Args:
        experiment: The resolved experiment.
        preprocessing: fitted to the data.
        measured: what the weight's model has measured of the data, if it trains.
    """
    # Compiled as one program; layer by layer it would take several times as long.
    return jax.jit(functools.partial(_init, experiment))(
        jnp.asarray(experiment.seeds), preprocessing, measured
    )


def _init(experiment, values, preprocessing, measured):
    observations = jnp.zeros((1, experiment.task.observation_size))

    def agent(seed):
        return experiment.algorithm.init(seed_axis.stream(seed, "init"), observations)

    def model(seed):
        key = seed_axis.stream(seed, f"{experiment.model.name} init")
        return experiment.model.init(key, measured)

    count = len(experiment.seeds)
    model_state = weight = ()
    if experiment.model is not None:
        stacked = jax.vmap(model)(values)
        model_state = seed_axis.share_steps(stacked)
        weight = jax.vmap(experiment.model.empty)(stacked)
    return State(
        seeds=jnp.copy(values),
        agent=seed_axis.share_steps(jax.vmap(agent)(values)),
        model=model_state,
        weight=weight,
        quantiles=jnp.zeros((count, len(quantiles.GRID_LEVELS))),
        preprocessing=jax.tree.map(jnp.copy, preprocessing),
        alive=jnp.ones(count, bool),
        failed_step=jnp.full(count, -1, jnp.int32),
    )


def make_updates(experiment: Experiment, batch_size: int) -> Any:
    """The compiled `(state, dataset, start, length) -> (state, metrics)`.

    The function is one compiled scan over `length` updates of all seeds. It donates
    the state, and returns the new one and metrics, means over the scan, `[S]` each. A
    seed that becomes non-finite keeps a state from up to `LOOK_EVERY - 1` updates
    earlier; `failed_step` is exact, unless only the parameters are non-finite and no
    metric is.
    """

    def draw(seed, step, dataset):
        key = seed_axis.stream(seed, "offline", step)
        return _rows_and_key(key, batch_size, len(dataset.rewards))

    def update(agent, drawn, dataset, preprocessing):
        rows, key = drawn
        batch = preprocessing(sampling.as_batch(dataset, rows))
        return experiment.algorithm.update(agent, batch, key)

    return _scanned(experiment, "agent", draw, update)


def make_model_updates(experiment: Experiment) -> Callable[..., tuple[State, Metrics]]:
    """Compile the updates of the weight's model, as `make_updates`.

    The function is `(state, (dataset, rows), start, length)`; it trains on the rows
    `rows` alone.
    """
    batch_size = experiment.model.settings.batch_size

    def draw(seed, step, inputs):
        key = seed_axis.stream(seed, experiment.model.name, step)
        return _rows_and_key(key, batch_size, len(inputs[1]))

    def update(model, drawn, inputs, preprocessing):
        del preprocessing  # The model sees raw data.
        dataset, rows = inputs
        places, key = drawn
        chosen = rows[places]
        return experiment.model.update(
            model,
            dataset.observations[chosen],
            dataset.actions[chosen],
            dataset.next_observations[chosen],
            key,
        )

    return _scanned(experiment, "model", draw, update)


def _rows_and_key(key: chex.PRNGKey, batch_size: int, rows: int):
    """The indices `[B]` of a batch among `rows` rows, and the update's key."""
    batch_key, update_key = jax.random.split(key)
    return jax.random.randint(batch_key, (batch_size,), 0, rows), update_key


def _scanned(
    experiment: Experiment,
    field: str,
    draw: Callable[..., Any],
    update: Callable[..., tuple[Any, Metrics]],
):
    """Compile a scan of guarded updates of one field of the state.

    Args:
        experiment: The resolved experiment.
        field: The name of the state's field.
        draw: A function `(seed, step, inputs) -> drawn`. One call draws for all
            updates of the scan, which is cheaper and gives the same numbers.
        update: A function `(model, drawn, inputs, preprocessing) -> (model, metrics)`.
    """

    def guarded(model, alive, steps, drawn, inputs, preprocessing):
        def one(model, drawn):
            return update(model, drawn, inputs, preprocessing)

        new, metrics = jax.lax.scan(one, model, drawn)
        # The guard copies the state, so it runs once per block and not per update.
        model, alive = seed_axis.guard(model, new, metrics, alive)
        finite = jnp.stack([jnp.isfinite(value) for value in metrics.values()])
        # The step is the last of the block if all metrics are finite.
        first = jnp.argmin(finite.all(axis=0).at[-1].set(False))
        return model, alive, steps[first], metrics

    def body(inputs, state, block):
        steps, drawn = block
        model = getattr(state, field)
        axes = seed_axis.axes(model)
        batched = jax.vmap(
            guarded, in_axes=(axes, 0, None, 0, None, None), out_axes=(axes, 0, 0, 0)
        )
        model, alive, first, metrics = batched(
            model, state.alive, steps, drawn, inputs, state.preprocessing
        )
        failed = jnp.where(state.alive & ~alive, first, state.failed_step)
        changes = {field: model, "alive": alive, "failed_step": failed}
        return state.replace(**changes), metrics

    @functools.partial(jax.jit, static_argnames="length", donate_argnums=0)
    def updates(state: State, inputs, start, *, length: int):
        block = math.gcd(length, LOOK_EVERY)

        def scan(state, inputs, start):
            steps = start + jnp.arange(length).reshape(-1, block)
            # All draws come before the scan, `[blocks, S, block, ...]`: a key depends
            # on seed and step only, so the numbers equal those drawn one by one.
            of_seed = jax.vmap(draw, in_axes=(None, 0, None))
            of_seeds = jax.vmap(of_seed, in_axes=(0, None, None))
            every = jax.vmap(of_seeds, in_axes=(None, 0, None))
            drawn = every(state.seeds, steps, inputs)
            state, metrics = jax.lax.scan(
                functools.partial(body, inputs), state, (steps, drawn)
            )
            return state, jax.tree.map(lambda values: values.mean(axis=(0, 2)), metrics)

        specs = devices.specs(state)
        in_specs = specs, devices.SHARED, devices.SHARED
        out_specs = specs, devices.OF_SEEDS
        return devices.each(experiment.mesh, scan, in_specs, out_specs)(
            state, inputs, start
        )

    return updates


def fit_weight(
    experiment: Experiment,
    state: State,
    dataset: transitions.Dataset,
    split: collapse.Split,
) -> tuple[State, dict[str, np.ndarray]]:
    """Fit the weight; returns the state with it, and a report, `[S]` each.

    Passes all offline rows through the weight's model and, if the threshold is a
    quantile, through the weight. Examines both on the rows held out from training:
    p_int, and p after the cut, as it would be stored online for these rows.

    Args:
        experiment: The resolved experiment.
        state: The state, with a trained model if the weight needs one.
        dataset: The dataset, on the device.
        split: The split of the rows with which the model was trained.
    """
    columns = dataset.observations, dataset.actions, dataset.next_observations
    # The rows are spread evenly, because a few long episodes would not represent all.
    rows = split.held_out[:: -(-len(split.held_out) // HEALTH_ROWS)]
    few = tuple(column[rows] for column in columns)
    findings = {}
    if experiment.model is not None:
        weight = experiment.model.fit(state.model, *columns, split.train)
        state = state.replace(weight=jax.tree.map(jnp.copy, weight))
        findings = dict(experiment.model.examine(state.model, *few))
    p_int_of = probabilities(experiment)
    inputs = state.seeds, state.weight
    if experiment.by_quantile:
        p_int = quantiles.offline_probabilities(p_int_of, inputs, *columns)
        state = state.replace(quantiles=jnp.asarray(quantiles.grid(p_int)))
    findings |= quantiles.report(np.asarray(jax.jit(p_int_of)(inputs, *few)))
    threshold = jnp.full(len(experiment.seeds), experiment.guidance.threshold)
    if experiment.guidance.threshold_quantile is not None and experiment.by_quantile:
        at = jax.vmap(quantiles.at, in_axes=(0, None))
        threshold = at(state.quantiles, experiment.guidance.threshold_quantile)
    p_of = _over_seeds(experiment, weights.weights(experiment.guidance))
    p = np.asarray(jax.jit(p_of)((*inputs, threshold), *few))
    findings["share_active"] = (p > 0).mean(axis=1)
    findings["p_mean"] = p.mean(axis=1)
    state = devices.put(experiment.mesh, state)  # The fit was made on the host.
    return state, {name: np.asarray(value) for name, value in findings.items()}


def probabilities(experiment: Experiment) -> Callable[..., jax.Array]:
    """Returns `((seeds, weights), *columns [b, ...]) -> p_int [S, b]`."""
    fn = _over_seeds(experiment, weights.probabilities(experiment.guidance))

    def batched(inputs, *columns):
        unread = jnp.zeros(inputs[0].shape)  # p_int has no cut that reads a threshold.
        return fn((*inputs, unread), *columns)

    return batched


def _over_seeds(
    experiment: Experiment, fn: Callable[..., jax.Array]
) -> Callable[..., jax.Array]:
    """Returns `((seeds, weights, thresholds), *columns) -> [S, b]` of one of `fn`."""

    def one(seed, weight, threshold, *columns):
        guidance = weights.make_guidance(experiment.guidance, (), weight, threshold)
        return fn(guidance, *columns, seed_axis.stream(seed, "fit"))

    batched = jax.vmap(one, in_axes=(0, 0, 0, None, None, None))
    return lambda inputs, *columns: batched(*inputs, *columns)


def held_out(experiment: Experiment, dataset: transitions.Dataset) -> collapse.Split:
    """The rows that train the weight's model, and the held-out rows."""
    share = HOLDOUT if experiment.model is None else experiment.model.settings.holdout
    dataset = jax.device_get(dataset)
    limit = experiment.task.max_episode_steps or len(dataset.rewards)
    return collapse.episode_split(transitions.episode_ends(dataset, limit), share)
