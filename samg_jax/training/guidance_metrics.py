"""Metrics of the guidance, on the latest transitions and on one batch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from samg_jax import losses
from samg_jax.data import replay
from samg_jax.experiment import spec
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import guided_target, quantiles, weights
from samg_jax.training import devices, handover, online_phase, seed_axis
from samg_jax.types import Batch, Metrics


def make_diagnostics(
    experiment: Experiment, settings: spec.Online
) -> Callable[[online_phase.State], Metrics]:
    """Compile the metrics of the guidance, name -> `[S]`.

    They only read the state: a run with them equals the run without. They cover the
    transitions since the last log, and a batch drawn for the purpose:

    - `fresh_weight_qNN`, `fresh_weight_active`: quantiles of p(s, a) over the former,
      as stored (before the strength and the cut-off), and the share above 0.
    - `fresh_p_int_qNN`: quantiles of p_int before the cut; equal to `fresh_weight_qNN`
      for a weight without a cut. `threshold`: the threshold, NaN without a cut.
    - `weight_mean`, `weight_active`: the weights that an update would use on the batch.
    - `guidance_term`: mean of |discount * mask * p (V_off - V_on)|, which the guide
      adds to the target; equal to the intrinsic reward of SAMG (2024), Eq. 5.
    - `value_online`, `value_offline`, `value_gap`: mean Q of the batch's pairs under
      the guiding critic's parameters, current and frozen, and the mean of |Q_off - Q|.
      IQL freezes V, so there these are values of observations.
    - `td_error_guided`, `td_error_unguided`: mean |target - Q| over pairs with p > 0
      and over the others, a mean over the ensemble; NaN if the batch has no such pair.
    """
    fresh = min(settings.log_every, online_phase.capacity(settings))
    is_cut = weights.REGISTRY[experiment.guidance.weight].cut
    p_int_of = weights.probabilities(experiment.guidance)

    def newest_weights(guidance, buffer, key, count):
        rows = replay.newest(buffer, count, fresh)
        p_int, threshold = rows.weights, jnp.float32(jnp.nan)
        if is_cut:
            columns = rows.observations, rows.actions, rows.next_observations
            p_int, threshold = p_int_of(guidance, *columns, key), guidance.threshold
        return {
            **fresh_weights(rows.weights, count),
            **fresh_quantiles("fresh_p_int", p_int, count),
            "threshold": threshold,
        }

    def one(state: online_phase.State) -> Metrics:
        # `jax.vmap` passes the state of one seed, without the axis `S`.
        agent, guidance, count = state.agent, state.guidance, state.count
        key = seed_axis.stream(state.seeds, "diagnostics", count)
        batch_key, value_key = jax.random.split(key)
        fresh_key = jax.random.fold_in(key, 1)
        batch = replay.sample(state.buffer, count, batch_key, settings.batch_size)
        batch = state.preprocessing(batch)
        p = online_phase.effective_weights(guidance, batch.weights, count)
        guide = guided_target.make_guide(guidance.offline, p)
        values = experiment.online.next_values(agent, batch, value_key)
        guided = experiment.online.next_values(agent, batch, value_key, guide)
        discount = experiment.online.config.discount
        term = jnp.abs(discount * batch.masks * (guided - values))
        targets = losses.td_targets(batch.rewards, batch.masks, guided, discount)
        return {
            **newest_weights(guidance, state.buffer, fresh_key, count),
            "weight_mean": p.mean(),
            "weight_active": (p > 0).mean(),
            "guidance_term": term.mean(),
            **compare_values(experiment, agent, guidance, batch),
            **split_errors(targets - experiment.online.q_values(agent, batch), p),
        }

    @jax.jit
    def diagnose(state: online_phase.State) -> Metrics:
        def every(state):
            return jax.vmap(one, in_axes=(seed_axis.axes(state),))(state)

        specs = (devices.specs(state),)
        return devices.each(experiment.mesh, every, specs, devices.OF_SEEDS)(state)

    return diagnose


def fresh_weights(p: jax.Array, count: jax.Array) -> Metrics:
    """Quantiles of the latest weights, and their share above 0.

    Args:
        p: `[n]` weights, the latest first.
        count: `[]` number of transitions so far; further entries of `p` are empty.
    """
    exists = jnp.arange(len(p)) < count
    named = fresh_quantiles("fresh_weight", p, count)
    return {**named, "fresh_weight_active": jnp.mean(p > 0, where=exists)}


def fresh_quantiles(name: str, p: jax.Array, count: jax.Array) -> Metrics:
    """Quantiles `name_qNN` of the latest values; see `fresh_weights`."""
    exists = jnp.arange(len(p)) < count
    levels = quantiles.REPORTED_LEVELS
    values = jnp.nanquantile(jnp.where(exists, p, jnp.nan), jnp.asarray(levels))
    return {
        f"{name}_q{round(100 * level):02d}": value
        for level, value in zip(levels, values, strict=True)
    }


def compare_values(experiment: Experiment, agent, guidance, batch: Batch) -> Metrics:
    """The batch's values under the frozen parameters and under the current ones."""
    online = experiment.online.values(handover.frozen_params(experiment, agent), batch)
    offline = experiment.online.values(guidance.offline, batch)
    return {
        "value_online": online.mean(),
        "value_offline": offline.mean(),
        "value_gap": jnp.abs(offline - online).mean(),
    }


def split_errors(errors: jax.Array, p: jax.Array) -> Metrics:
    """The mean size of TD errors `[E, B]` where p `[B]` is above 0, and elsewhere."""
    sizes = jnp.abs(errors).mean(axis=0)
    return {
        "td_error_guided": jnp.mean(sizes, where=p > 0),
        "td_error_unguided": jnp.mean(sizes, where=p <= 0),
    }
