"""Checks of a weight of the user's own: one p per transition, in [0, 1]."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import checks
from samg_jax.data import transitions
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import weights
from samg_jax.runs import forks
from samg_jax.training import offline_phase

ROWS = 64  # On which a weight is tried.
ADVICE = (
    "Change the function that is registered for it, in the module of "
    "config.guidance.module."
)


def check_shape(experiment: Experiment) -> None:
    """Raises UserError where the weight is not one real number per transition.

    Nothing is computed: the function is only traced, with a model of the shape that
    its fit will have.
    """
    if not is_own(experiment):
        return
    name, fn = (
        experiment.guidance.weight,
        weights.REGISTRY[experiment.guidance.weight].fn,
    )

    def one(weight, *inputs):
        guidance = weights.make_guidance(experiment.guidance, (), weight, jnp.zeros(()))
        return fn(experiment.guidance, guidance, *inputs)

    weight = ()
    if experiment.model is not None:
        stacked = forks.template(experiment).weight
        weight = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), stacked
        )
    observations, actions = (
        jax.ShapeDtypeStruct((ROWS, size), jnp.float32)
        for size in (experiment.task.observation_size, experiment.task.action_size)
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    found = jax.eval_shape(one, weight, observations, actions, observations, key)
    if isinstance(found, jax.ShapeDtypeStruct):
        real = not jnp.issubdtype(found.dtype, jnp.complexfloating)
        if found.shape == (ROWS,) and real:
            return
        found = f"{found.dtype} of the shape {found.shape}"
    raise checks.UserError(
        f"The weight {name!r} returns {found} for {ROWS} transitions. It must be one "
        f"real number for each of them, of the shape ({ROWS},). {ADVICE}"
    )


def check_on_data(
    experiment: Experiment,
    state: offline_phase.State | None,
    dataset: transitions.Dataset,
) -> None:
    """Raises UserError where the weight leaves [0, 1] on some offline rows.

    Args:
        experiment: The resolved experiment.
        state: with a fitted weight; None for a weight that has no model.
        dataset: to take the rows from, evenly.
    """
    if not is_own(experiment):
        return
    rows = np.linspace(0, len(dataset.rewards) - 1, ROWS).astype(int)
    columns = dataset.observations, dataset.actions, dataset.next_observations
    columns = tuple(jnp.asarray(column[rows]) for column in columns)
    inputs = jnp.asarray(experiment.seeds), ()
    alive = np.ones(len(experiment.seeds), bool)
    if state is not None:
        inputs, alive = (state.seeds, state.weight), np.asarray(state.alive)
    p = jax.jit(offline_phase.probabilities(experiment))(inputs, *columns)
    check_range(experiment, np.asarray(p)[alive], "offline transitions")


def check_at_switch(
    experiment: Experiment, guidance: Any, alive: jax.Array, observations: jax.Array
) -> None:
    """Raises UserError where the weight leaves [0, 1] in the first states online.

    Args:
        experiment: The resolved experiment.
        guidance: `weights.Guidance` stacked over replicas.
        alive: `[S]` whether the replica has stayed finite; others are not tried.
        observations: `[S, O]` first ones of the training environments; they stand for
            their own successors, under random actions.
    """
    if not is_own(experiment):
        return
    fn = weights.probabilities(experiment.guidance)

    def one(guidance, observation, key):
        action_key, weight_key = jax.random.split(key)
        shape = ROWS, experiment.task.action_size
        actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)
        rows = jnp.broadcast_to(observation, (ROWS, *observation.shape))
        return fn(guidance, rows, actions, rows, weight_key)

    keys = jax.random.split(jax.random.key(0), len(experiment.seeds))
    p = jax.jit(jax.vmap(one))(guidance, jnp.asarray(observations), keys)
    p = np.asarray(p)[np.asarray(alive)]
    check_range(experiment, p, "pairs of a first state and a random action")


def check_range(experiment: Experiment, p: np.ndarray, rows: str) -> None:
    """Raises UserError where some of `p` is not in [0, 1].

    Args:
        experiment: The resolved experiment.
        p: `[S, B]`.
        rows: what they are, in words.
    """
    p = p.astype(np.float64)
    outside = ~((p >= 0) & (p <= 1))  # What is no number is outside too.
    if outside.any():
        raise checks.UserError(
            f"The weight {experiment.guidance.weight!r} returns {p[outside][0]:g}, for "
            f"example, and {outside.mean():.0%} of its values are outside [0, 1], on "
            f"{p.shape[1]} {rows}. p(s, a) is the share of the offline value in the "
            f"target, from 0 to 1. {ADVICE} jnp.clip(p, 0, 1) may be what is meant."
        )


def is_own(experiment: Experiment) -> bool:
    """Returns whether the weight is none of the package's."""
    return experiment.guidance.weight not in weights.BUILT_IN
