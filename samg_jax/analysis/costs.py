"""What the guidance costs: time and memory of an update with it and without it."""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import algorithms
from samg_jax.envs import tasks
from samg_jax.guidance import guide as guide_lib
from samg_jax.guidance import weights
from samg_jax.training import seeds as seeds_lib
from samg_jax.training.parts import Parts
from samg_jax.types import Algorithm, Batch, unguided

# Settings beside the defaults of each algorithm's `Config`, the published ones.
BASES: dict[str, dict[str, Any]] = {
    "awac": {},
    "iql": {},
    "cql": {},
    "cal_ql": {"calibrated": True},
}
BATCH_SIZE = 256
LONGEST_S = 20.0  # Of the timed calls of one comparison.
MEGABYTE = 1e6


def of_base(base: str, parts: Parts, repeats: int) -> dict[str, float]:
    """Returns the cost of a fine-tuning update of a base as published, of one seed.

    Args:
        base: a key of `BASES`.
        parts: of the experiment; gives the sizes of the environment.
        repeats: see `of_update`.
    """
    algorithm = algorithms.make(base, BASES[base], parts.task.action_size)
    return of_update(algorithm, parts.task, (1, BATCH_SIZE), repeats)


def of_own(parts: Parts, batch_size: int, repeats: int) -> dict[str, float]:
    """Returns the same of the experiment itself: its networks, batch and seeds.

    Args:
        parts: of the experiment.
        batch_size: of its fine-tuning.
        repeats: see `of_update`.
    """
    shape = len(parts.seeds), batch_size
    return of_update(parts.algorithm, parts.task, shape, repeats)


def of_update(
    algorithm: Algorithm, task: tasks.Task, shape: tuple[int, int], repeats: int
) -> dict[str, float]:
    """Returns milliseconds and megabytes of an update of all seeds, as training does.

    Args:
        algorithm: as it trains offline.
        task: gives the sizes of the environment.
        shape: seeds, and rows of the batch of each.
        repeats: timed updates of each kind; they alternate, so that a busy machine
            slows both alike.
    """
    seeds, rows = shape
    online = algorithm.online()
    batch = _batch(task.observation_size, task.action_size, rows)
    batch = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], seeds, axis=0), batch)

    def start(key):
        return algorithm.start_online(algorithm.init(key, batch.observations[0, :1]))

    first = jax.random.split(jax.random.key(0), seeds)
    state = seeds_lib.share_steps(jax.jit(jax.vmap(start))(first))
    axes = seeds_lib.axes(state)
    frozen = jax.tree.map(jnp.copy, online.value_params(state))

    def one(state, batch, key, frozen):
        guide = unguided
        if frozen is not None:
            guide = guide_lib.make_guide(frozen, batch.weights)
        # Metrics too: what training logs would not be computed otherwise.
        return online.update(state, batch, key, guide)

    def update(state, batch, keys, frozen=None):
        mapped = jax.vmap(one, in_axes=(axes, 0, 0, 0), out_axes=(axes, 0))
        return mapped(state, batch, keys, frozen)

    keys = jax.random.split(jax.random.key(1), (repeats, seeds))
    plain = _compile(update, state, batch, keys[0])
    guided = _compile(update, state, batch, keys[0], frozen)
    times = _alternate(
        [
            functools.partial(plain, state, batch),
            lambda key: guided(state, batch, key, frozen),
        ],
        keys,
    )
    frozen_size = sum(leaf.nbytes for leaf in jax.tree.leaves(frozen))
    return {
        "plain_ms": times[0],
        "guided_ms": times[1],
        "ratio": times[1] / times[0],
        "plain_mb": program_mb(plain),
        "guided_mb": program_mb(guided),
        "frozen_mb": frozen_size / MEGABYTE,
    }


def of_model(parts: Parts, weight: Any, repeats: int) -> dict[str, float]:
    """Returns what the model of a weight costs by itself, for one seed.

    Args:
        parts: with a model.
        weight: its fit, of one seed.
        repeats: timed calls of each kind.
    """
    model, task = parts.model, parts.task
    settings = model.settings
    batch = _batch(task.observation_size, task.action_size, settings.batch_size)
    rows = batch.observations, batch.actions, batch.next_observations
    keys = jax.random.split(jax.random.key(1), repeats)
    columns = (np.asarray(leaf) for leaf in rows)
    state = model.init(jax.random.key(0), model.measure(*columns))
    update = _compile(
        lambda s, r, key: model.update(s, *r, key)[0], state, rows, keys[0]
    )
    weigh = weights.weights(parts.guidance)
    threshold = jnp.float32(parts.guidance.threshold)
    guidance = weights.make_guidance(parts.guidance, (), weight, threshold)
    one = tuple(leaf[:1] for leaf in rows)
    weigh_one = _compile(lambda g, r, key: weigh(g, *r, key), guidance, one, keys[0])
    times = _alternate(
        [
            functools.partial(update, state, rows),
            functools.partial(weigh_one, guidance, one),
        ],
        keys,
    )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(weight))
    return {
        "update_ms": times[0],
        "update_mb": program_mb(update),
        "training_s": 1e-3 * times[0] * settings.steps,
        "updates": settings.steps,
        "weigh_one_ms": times[1],
        "weight_mb": size / MEGABYTE,
    }


def peak_memory_mb() -> float:
    """Returns the most memory that this process has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def _batch(observation_size: int, action_size: int, rows: int = BATCH_SIZE) -> Batch:
    # Values do not matter to the time; half of the weights are cut, as is usual.
    rng = np.random.default_rng(0)
    p = rng.uniform(size=rows)
    fields = {
        "observations": rng.normal(size=(rows, observation_size)),
        "actions": rng.uniform(-1, 1, (rows, action_size)),
        "rewards": rng.normal(size=rows),
        "next_observations": rng.normal(size=(rows, observation_size)),
        "masks": np.ones(rows),
        "mc_returns": np.zeros(rows),
        "weights": np.where(p < 0.5, 0.0, p),
    }
    return Batch(**{name: jnp.float32(value) for name, value in fields.items()})


def _compile(fn: Callable[..., Any], *arguments: Any) -> Any:
    return jax.jit(fn).lower(*arguments).compile()


def _alternate(calls: list[Callable[..., Any]], keys: jax.Array) -> list[float]:
    """Returns the median milliseconds of each call, made in turns.

    Ends early, though not before three turns, where a machine is so slow that all
    turns would take minutes.
    """
    for call in calls:
        jax.block_until_ready(call(keys[0]))
    turns, started = [], time.perf_counter()
    for key in keys:
        turns.append([_seconds(call, key) for call in calls])
        if len(turns) >= 3 and time.perf_counter() - started > LONGEST_S:
            break
    return [float(value) for value in 1e3 * np.median(turns, axis=0)]


def _seconds(call: Callable[..., Any], key: jax.Array) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call(key))
    return time.perf_counter() - began


def program_mb(compiled: Any) -> float:
    """Returns the megabytes of arguments, results and temporaries of a program.

    NaN where the backend does not say.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:  # Not every backend says.
        return float("nan")
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    total += sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
    return total / MEGABYTE
