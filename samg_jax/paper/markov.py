"""Random Markov decision processes, and SAMG's policy evaluation on them, exactly.

A state and an action form one pair x here, so a fixed policy turns the process into a
Markov chain over `X` pairs. Exact quantities are float64 on the host.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import losses
from samg_jax.guidance import guided_target


class Process(NamedTuple):
    """A decision process and the policy to evaluate on it.

    Attributes:
        rewards: `[X]` r(s, a), in [0, 1).
        transitions: `[X, X]` probability of the next pair (s', a').
        discount: the discount, in (0, 1).
    """

    rewards: np.ndarray
    transitions: np.ndarray
    discount: float


def garnet(
    key: chex.PRNGKey, states: int, actions: int, branching: int, discount: float
) -> Process:
    """A random process whose pairs each lead to a few states only.

    Garnet (Archibald et al. 1995): the successors are drawn without replacement, their
    probabilities and those of the policy uniformly from the simplex.

    Args:
        key: The random key; consumed.
        states: The number of states.
        actions: The number of actions; `X` is `states * actions`.
        branching: The number of states that a pair leads to, at most `states`.
        discount: The discount, in (0, 1).
    """
    pairs = states * actions
    draws = _draw(key, states, actions, branching)
    order, shares, policy, rewards = (np.asarray(draw) for draw in draws)
    next_states = np.zeros((pairs, states))
    np.put_along_axis(next_states, order[:, :branching], _simplex(shares), axis=1)
    transitions = next_states[:, :, None] * _simplex(policy)
    return Process(
        rewards=np.float64(rewards),
        transitions=transitions.reshape(pairs, pairs),
        discount=discount,
    )


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _draw(key, states, actions, branching):
    """All draws of a process, as one program, which compiles faster."""
    keys, pairs = jax.random.split(key, 4), states * actions
    ranks = jax.random.uniform(keys[0], (pairs, states))
    return (
        jnp.argsort(ranks, axis=1),
        jax.random.exponential(keys[1], (pairs, branching)),
        jax.random.exponential(keys[2], (states, actions)),
        jax.random.uniform(keys[3], (pairs,)),
    )


def _simplex(draws: np.ndarray) -> np.ndarray:
    """Rows of probabilities; exponential draws make them uniform on the simplex."""
    draws = np.float64(draws)
    return draws / draws.sum(axis=1, keepdims=True)


def backup(
    process: Process, q: np.ndarray, offline: np.ndarray, p: np.ndarray
) -> np.ndarray:
    """T_p Q `[X]`, the expected guided target; SAMG (2024), Eq. 4.

    With `p` 0 it is the Bellman operator of the policy.

    Args:
        process: The process.
        q: `[X]` online values.
        offline: `[X]` frozen values.
        p: `[X]` weights in [0, 1].
    """
    following, frozen = process.transitions @ q, process.transitions @ offline
    mixed = (1.0 - p) * following + p * frozen
    return process.rewards + process.discount * mixed


def fixed_point(process: Process, offline: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The fixed point `[X]` of `backup`."""
    # T_p is affine, q -> kept q + constant, so its fixed point is a linear system.
    kept = process.discount * (1.0 - p)[:, None] * process.transitions
    constant = backup(process, np.zeros_like(p), offline, p)
    return np.linalg.solve(np.eye(len(p)) - kept, constant)


def true_values(process: Process) -> np.ndarray:
    """The values Q of the policy, `[X]`."""
    zeros = np.zeros_like(process.rewards)
    return fixed_point(process, zeros, zeros)


def modulus(discount: float, p: np.ndarray) -> float:
    """The contraction modulus of `backup` in the maximum norm."""
    return discount * float(np.max(1.0 - p))


def step_bounds(
    discount: float, p: np.ndarray, error: float, offline_error: float
) -> np.ndarray:
    """The largest error of each pair after one `backup`, `[X]`.

    SAMG (2024), Theorem 2; below the plain `discount * error` where p > 0, if the
    offline error is the smaller.

    Args:
        discount: The discount, in (0, 1).
        p: `[X]` weights.
        error: The maximum norm of the error of Q before the step.
        offline_error: The maximum norm of the error of Q_off.
    """
    return discount * ((1.0 - p) * error + p * offline_error)


def bias_bound(discount: float, p: np.ndarray, offline_error: float) -> float:
    """The largest distance of the fixed point from the true values.

    The bound for a weight p grows with p, so the largest weight bounds them all.
    """
    largest = float(np.max(p))
    return discount * largest * offline_error / (1.0 - discount * (1.0 - largest))


def iterate(
    process: Process,
    start: np.ndarray,
    offline: np.ndarray,
    p: np.ndarray,
    iterations: int,
    cutoff: int | None = None,
) -> np.ndarray:
    """Q `[iterations + 1, X]` before, between and after exact backups.

    Args:
        process: The process.
        start: `[X]` first Q.
        offline: `[X]` frozen values.
        p: `[X]` weights.
        iterations: The number of backups.
        cutoff: The number of backups after which the weights are 0; None for never.
    """
    q = [start]
    for number in range(iterations):
        cut = cutoff is not None and number >= cutoff
        q.append(backup(process, q[-1], offline, np.zeros_like(p) if cut else p))
    return np.stack(q)


def temporal_difference(
    process: Process,
    offline: jax.Array,
    p: jax.Array,
    key: chex.PRNGKey,
    records: int,
    every: int,
) -> jax.Array:
    """Q `[records, X]` of guided TD(0) from 0, after each `every` iterations.

    Each iteration moves every pair toward the target of one transition sampled from it:
    SAMG (2024), Eq. 13 if p is positive, Eq. 14 (plain TD) if it was cut to 0.

    Args:
        process: The process.
        offline: `[X]` frozen values.
        p: `[X]` weights, after the cut.
        key: The random key; consumed.
        records: The number of records.
        every: The number of iterations between two records.
    """
    rewards = jnp.asarray(process.rewards, jnp.float32)
    cumulative = jnp.cumsum(jnp.asarray(process.transitions, jnp.float32), axis=1)
    cumulative /= cumulative[:, -1:]  # The last is exactly 1, above every draw.

    def iteration(number, q):
        draws = jax.random.uniform(jax.random.fold_in(key, number), rewards.shape)
        following = jnp.sum(draws[:, None] >= cumulative, axis=1)
        values = guided_target.blend(q[following], offline[following], p)
        targets = losses.td_targets(
            rewards, jnp.ones_like(rewards), values, process.discount
        )
        return q + learning_rate(process.discount, number) * (targets - q)

    def record(q, first):
        q = jax.lax.fori_loop(first, first + every, iteration, q)
        return q, q

    return jax.lax.scan(record, jnp.zeros_like(rewards), jnp.arange(records) * every)[1]


def learning_rate(discount: float, iteration: jax.Array) -> jax.Array:
    """The learning rate of TD(0) in an iteration `[]` from 0 (Wainwright 2019).

    The sum over all iterations diverges, while the sum of the squares does not.
    """
    return 1.0 / (1.0 + (1.0 - discount) * iteration)
