"""Returns-to-go of online episodes, for Cal-QL's bound while fine-tuning."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.envs import vector
from samg_jax.experiment import datasets, spec
from samg_jax.experiment.resolved import Experiment
from samg_jax.training import devices, online_phase
from samg_jax.types import Batch

Finisher = Callable[[online_phase.State, vector.Step], online_phase.State]


def make_finisher(experiment: Experiment, settings: spec.Online) -> Finisher:
    """Returns `(state, outcome) -> state`, which bounds the episodes that just ended.

    It follows the step that stored the episode's last transition and its updates, and
    writes what the offline data have too: discounted sums of transformed rewards up to
    the end, or the value of failing for ever. Until then the bound is minus infinity,
    which is none. Nothing happens unless `experiment.online_returns`.
    """
    if not experiment.online_returns:
        return lambda state, outcome: state
    capacity = online_phase.capacity(settings)
    # No episode is longer, so one pair of compiled programs serves all episodes.
    window = min(capacity, experiment.task.max_episode_steps or capacity)

    def finish(state: online_phase.State, outcome: vector.Step) -> online_phase.State:
        if not outcome.dones.any():
            return state
        rewards, masks, transform = jax.device_get(
            (
                *read(state.buffer, state.count, window),
                state.preprocessing.reward_transform,
            )
        )
        returns, ended = np.zeros_like(rewards), np.zeros(rewards.shape, bool)
        for seed in np.flatnonzero(outcome.dones):
            # The window ends with the newest row, and the episode is its last rows.
            rows = slice(max(window - int(outcome.episode_lengths[seed]), 0), window)
            ends = np.arange(rows.start, window) == window - 1
            returns[seed, rows] = datasets.returns_to_go(
                experiment.task,
                experiment.online.config.discount,
                transform,
                rewards[seed, rows],
                masks[seed, rows],
                ends,
            )
            ended[seed, rows] = True
        mc_returns = write(state.buffer.mc_returns, returns, ended, state.count, window)
        mc_returns = devices.put(experiment.mesh, mc_returns)
        return state.replace(buffer=state.buffer.replace(mc_returns=mc_returns))

    return finish


@functools.partial(jax.jit, static_argnames="window")
def read(buffers: Batch, count: jax.Array, window: int) -> tuple[jax.Array, jax.Array]:
    """The rewards and masks, `[S, window]`, of the latest transitions.

    Args:
        buffers: The buffers of all seeds, `[S, capacity, ...]`.
        count: `[]` number of transitions inserted so far.
        window: The number of transitions; at first, some of them are empty rows.
    """
    rows = _newest(buffers.rewards, count, window)
    return buffers.rewards[:, rows], buffers.masks[:, rows]


@functools.partial(jax.jit, donate_argnums=0, static_argnames="window")
def write(
    mc_returns: jax.Array,
    returns: jax.Array,
    ended: jax.Array,
    count: jax.Array,
    window: int,
) -> jax.Array:
    """`mc_returns` `[S, capacity]` with new values in its newest rows.

    Args:
        mc_returns: The returns of all seeds; donated.
        returns: `[S, window]`, oldest first.
        ended: `[S, window]` bool, true at the rows to write.
        count: `[]` number of transitions inserted so far.
        window: The number of rows.
    """
    rows = _newest(mc_returns, count, window)
    new = jnp.where(ended, returns, mc_returns[:, rows])
    return mc_returns.at[:, rows].set(new)


def _newest(leaf: jax.Array, count: jax.Array, window: int) -> jax.Array:
    return (count - window + jnp.arange(window)) % leaf.shape[1]
