"""The handover from the offline phase to fine-tuning, for all replicas of a sweep."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.experiment import sweeps
from samg_jax.experiment.resolution import Parts
from samg_jax.guidance import quantiles, weights
from samg_jax.training import offline_phase, seed_axis


def place(parts: Parts, state: offline_phase.State) -> offline_phase.State:
    """The offline state of each replica of fine-tuning, copied from its seed.

    Args:
        parts: The experiment, spread over the sweep.
        state: The state of the seeds that were pre-trained.
    """
    if not parts.labels:
        return state
    # A replica takes the state of its seed; shared leaves have no axis to select from.
    values = np.asarray(state.seeds).tolist()
    places = np.array([values.index(seed) for seed in parts.seeds.tolist()])
    shared = state.preprocessing
    state = seed_axis.select(state.replace(preprocessing=()), places)
    return state.replace(preprocessing=shared)


def freeze(parts: Parts, pretrained: offline_phase.State) -> Any:
    """The guidance toward a copy of the offline value parameters."""
    if parts.guidance.weight == "none":
        return ()
    values = frozen_params(parts, pretrained.agent)
    settings = swept(parts, "guidance")
    levels = settings.pop("threshold_quantile", None)
    threshold = jnp.full(len(parts.seeds), parts.guidance.threshold)
    if parts.by_quantile:
        if levels is None:
            levels = jnp.full(len(parts.seeds), parts.guidance.threshold_quantile)
        threshold = jax.vmap(quantiles.at)(pretrained.quantiles, levels)
    weight = () if parts.model is None else pretrained.weight
    make = functools.partial(weights.make_guidance, parts.guidance)
    return jax.vmap(make)(values, weight, threshold).replace(**settings)


def frozen_params(parts: Parts, agent: Any) -> Any:
    """The agent's parameters that the guidance freezes."""
    if parts.guidance.freeze == "critic":
        return parts.algorithm.online_value_params(agent)
    return parts.algorithm.value_params(agent)


def swept(parts: Parts, group: str) -> dict[str, jax.Array]:
    """The swept values of `guidance` or of `agent`, field -> `[S]`."""
    return {
        name: jnp.asarray(values, jnp.int32 if name == "cutoff_steps" else jnp.float32)
        for name, values in sweeps.of_group(parts, group).items()
    }
