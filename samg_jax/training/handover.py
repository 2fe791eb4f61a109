"""The handover from the offline phase to fine-tuning, for all replicas of a sweep."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.experiment import sweeps
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import quantiles, weights
from samg_jax.training import offline_phase, seed_axis


def to_replicas(
    experiment: Experiment, state: offline_phase.State
) -> offline_phase.State:
    """Returns the state of each replica of fine-tuning: that of its seed.

    Args:
        experiment: The experiment, spread over its replicas.
        state: of the seeds that were pre-trained.
    """
    if not experiment.labels:
        return state
    # A replica takes the state of its seed; shared leaves have no axis to select from.
    values = np.asarray(state.seeds).tolist()
    positions = np.array([values.index(seed) for seed in experiment.seeds.tolist()])
    shared = state.preprocessing
    state = seed_axis.select(state.replace(preprocessing=()), positions)
    return state.replace(preprocessing=shared)


def freeze(experiment: Experiment, pretrained: offline_phase.State) -> Any:
    """The guidance toward a copy of the offline value parameters."""
    if experiment.guidance.weight == "none":
        return ()
    values = frozen_params(experiment, pretrained.agent)
    settings = swept(experiment, "guidance")
    levels = settings.pop("threshold_quantile", None)
    threshold = jnp.full(len(experiment.seeds), experiment.guidance.threshold)
    if experiment.by_quantile:
        if levels is None:
            levels = jnp.full(
                len(experiment.seeds), experiment.guidance.threshold_quantile
            )
        threshold = jax.vmap(quantiles.at)(pretrained.quantiles, levels)
    weight = () if experiment.model is None else pretrained.weight
    make = functools.partial(weights.make_guidance, experiment.guidance)
    return jax.vmap(make)(values, weight, threshold).replace(**settings)


def frozen_params(experiment: Experiment, agent: Any) -> Any:
    """The agent's parameters that the guidance freezes."""
    if experiment.guidance.freeze == "critic":
        return experiment.algorithm.online_value_params(agent)
    return experiment.algorithm.value_params(agent)


def swept(experiment: Experiment, group: str) -> dict[str, jax.Array]:
    """The swept values of `guidance` or of `agent`, field -> `[S]`."""
    return {
        name: jnp.asarray(values, jnp.int32 if name == "cutoff_steps" else jnp.float32)
        for name, values in sweeps.of_group(experiment, group).items()
    }
