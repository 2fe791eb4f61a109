"""What the guidance does, seen on one fresh batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections

from samg_jax.data import replay
from samg_jax.guidance import guide as guide_lib
from samg_jax.training import online as online_phase
from samg_jax.training import seeds as seeds_lib
from samg_jax.training.parts import Parts
from samg_jax.types import Metrics


def make_diagnostics(
    parts: Parts, settings: ml_collections.ConfigDict
) -> Callable[[online_phase.State], Metrics]:
    """Returns the compiled look at the guidance on one fresh batch, `[S]` each.

    `guidance_term` is the mean of |discount * mask * p (V_off - V_on)|: what the
    guide adds to the target, equal to the intrinsic reward of Eq. 5.
    """

    def one(seed, agent, guidance, buffer, preprocessing, count):
        key = seeds_lib.stream(seed, "diagnostics", count)
        batch_key, value_key = jax.random.split(key)
        batch = replay.sample(buffer, count, batch_key, settings.batch_size)
        batch = preprocessing(batch)
        p = online_phase.effective_weights(guidance, batch.weights, count)
        guide = guide_lib.make_guide(guidance.offline, p)
        values = parts.online.next_values(agent, batch, value_key)
        guided = parts.online.next_values(agent, batch, value_key, guide)
        discount = parts.online.config.discount
        term = jnp.abs(discount * batch.masks * (guided - values))
        return {
            "weight_mean": p.mean(),
            "weight_active": (p > 0).mean(),
            "guidance_term": term.mean(),
        }

    @jax.jit
    def diagnose(state: online_phase.State) -> Metrics:
        axes = (0, seeds_lib.axes(state.agent), 0, 0, None, None)
        return jax.vmap(one, in_axes=axes)(
            state.seeds,
            state.agent,
            state.guidance,
            state.buffer,
            state.preprocessing,
            state.count,
        )

    return diagnose
