"""From the rows of a file to transitions: views, returns, rewards, statistics.

Everything here runs once, on the host, in NumPy. `M` is the number of transitions;
`T` the number of rows of the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import chex
import jax
import numpy as np
from flax import struct

from samg_jax import checks
from samg_jax.data import d4rl, row_order

# CORL scans for returns, and scales them, with this length whatever the task's limit.
RANGE_WINDOW = 1000

STD_OFFSET = 1e-3


class Dataset(struct.PyTreeNode):
    """Transitions with raw observations and rewards; one copy goes to the device.

    Attributes:
        observations: `[M, O]`.
        actions: `[M, A]` in [-1, 1].
        rewards: `[M]`, raw.
        next_observations: `[M, O]`; of another episode where `masks` is 0.
        masks: `[M]`, `1 - terminals`.
        mc_returns: `[M]` discounted returns-to-go of the transformed rewards, 0 until
            they are computed.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    next_observations: jax.Array
    masks: jax.Array
    mc_returns: jax.Array


def view(raw: d4rl.Raw, max_episode_steps: int | None = None) -> Dataset:
    """The transitions of any rows: D4RL's view, or that of a user's file.

    Args:
        raw: rows in the order of the file.
        max_episode_steps: time limit of the task, None without one.
    """
    if isinstance(raw, d4rl.Own):
        return own_view(raw, max_episode_steps)
    return q_learning_view(raw, max_episode_steps)


def q_learning_view(raw: d4rl.Raw, max_episode_steps: int | None = None) -> Dataset:
    """Returns the transitions that `d4rl.qlearning_dataset` makes of the same rows.

    The next observation is that of the following row. Rows at a time limit are
    dropped, since their successor is not in the file; so is the last row. Literally
    so: a row with both flags is dropped, and stored `next_observations` are ignored.
    By the published counts, no row of D4RL's locomotion files has both flags.

    Args:
        raw: rows in the order in which they were collected.
        max_episode_steps: time limit of the task; used only where the file has no
            `timeouts`.

    Returns:
        NumPy arrays, float32.
    """
    timeouts = raw.timeouts
    if timeouts is None:
        timeouts = infer_timeouts(raw.terminals, max_episode_steps)
    kept = np.flatnonzero(~timeouts[:-1])
    if kept.size == 0:
        raise checks.UserError(
            f"None of the {len(raw.rewards)} rows gives a transition: all but the last "
            "are flagged as timeouts. Flag the last step of an episode only."
        )
    return Dataset(
        observations=raw.observations[kept],
        actions=raw.actions[kept],
        rewards=raw.rewards[kept],
        next_observations=raw.observations[kept + 1],
        masks=1.0 - raw.terminals[kept].astype(np.float32),
        mc_returns=np.zeros(len(kept), np.float32),
    )


def own_view(raw: d4rl.Own, max_episode_steps: int | None = None) -> Dataset:
    """The transitions of a user's file: what its rows say, whatever D4RL would make.

    A termination wins over a timeout in the same row. With `next_observations`, every
    row is a transition with its own successor, in any order, and a timeout bootstraps
    from it; only a row cut off by a timeout (or the last one) is dropped if it stores
    the first observation of the next episode, as environments that reset themselves
    report it. Without, the view is that of `q_learning_view`.

    Args:
        raw: rows; in the order in which they were collected if they have no
            `next_observations`.
        max_episode_steps: time limit of the task; used only if the file has neither
            `timeouts` nor `next_observations`.

    Returns:
        NumPy arrays, float32.
    """
    timeouts = raw.timeouts
    if timeouts is not None:
        timeouts = timeouts & ~raw.terminals
    plain = dataclasses.replace(raw, timeouts=timeouts)
    if raw.next_observations is None:
        return q_learning_view(plain, max_episode_steps)
    cut = np.zeros(len(raw.rewards), bool) if timeouts is None else timeouts.copy()
    cut[-1] = not raw.terminals[-1]
    following = np.roll(raw.observations, -1, axis=0)
    kept = ~(cut & (raw.next_observations == following).all(axis=1))
    return Dataset(
        observations=raw.observations[kept],
        actions=raw.actions[kept],
        rewards=raw.rewards[kept],
        next_observations=raw.next_observations[kept],
        masks=1.0 - raw.terminals[kept].astype(np.float32),
        mc_returns=np.zeros(int(kept.sum()), np.float32),
    )


def infer_timeouts(terminals: np.ndarray, max_episode_steps: int | None) -> np.ndarray:
    """Returns `[T]` bool, the time limits of a file that does not record them.

    Counts as D4RL does, one oddity included: after a terminal its counter starts at
    one instead of zero, so the limit of the following episode comes a step early.

    Args:
        terminals: `[T]` bool.
        max_episode_steps: time limit of the task.
    """
    if max_episode_steps is None or max_episode_steps < 1:
        raise checks.UserError(
            f"The file has no 'timeouts' and max_episode_steps is {max_episode_steps}. "
            "One of the two must say where episodes are cut off. Name a task with a "
            "time limit, or write 'timeouts' into the file."
        )
    timeouts = np.zeros(len(terminals), bool)
    start, count = 0, 0
    for end in (*np.flatnonzero(terminals), len(terminals) - 1):
        timeouts[
            start + max_episode_steps - 1 - count : end + 1 : max_episode_steps
        ] = 1
        start, count = end + 1, int(not timeouts[end])
    return timeouts


def episode_ends(dataset: Dataset, max_episode_steps: int) -> np.ndarray:
    """Returns `[M]` bool, the last transition of each trajectory, found as in CORL.

    A trajectory ends at a terminal, where the next transition starts elsewhere, after
    `max_episode_steps`, and at the last transition. Dropped rows leave no other trace.
    A jump between two rows of a file that flags no end there is a transition like any
    other, as in D4RL's own view.
    """
    jumps = np.linalg.norm(
        dataset.observations[1:] - dataset.next_observations[:-1], axis=1
    )
    ends = dataset.masks == 0
    ends[:-1] |= jumps > row_order.JUMP
    ends[-1] = True
    return _cut(ends, max_episode_steps)


def _cut(ends: np.ndarray, length: int) -> np.ndarray:
    """Returns `ends` `[M]` with further ends wherever a segment reaches `length`."""
    index = np.arange(len(ends))
    starts = np.where(np.concatenate([[True], ends[:-1]]), index, 0)
    position = index - np.maximum.accumulate(starts)
    return ends | ((position + 1) % length == 0)


def returns_to_go(
    rewards: np.ndarray,
    masks: np.ndarray,
    ends: np.ndarray,
    discount: float,
    failure_reward: float | None = None,
) -> np.ndarray:
    """Returns `[M]` discounted sums of rewards up to the end of the trajectory.

    Nothing is bootstrapped at a cut. For sparse rewards, a trajectory whose last
    reward says that it failed is taken to go on failing for ever, and each of its
    steps gets the same value: Cal-QL's lower bound (Nakamoto et al., 2023), as in
    CORL.

    Args:
        rewards: `[M]`, transformed.
        masks: `[M]`, `1 - terminals`.
        ends: `[M]` bool, from `episode_ends`; the last is an end.
        discount: in [0, 1); below 1 is needed only with a failure reward.
        failure_reward: the transformed reward of a step without success, compared
            exactly in float32; None for rewards that are not sparse.
    """
    chex.assert_rank([rewards, masks, ends], 1)
    chex.assert_equal_shape([rewards, masks, ends])
    factors = discount * masks.astype(np.float64) * ~ends
    returns, value = [], 0.0
    pairs = zip(rewards.tolist(), factors.tolist(), strict=True)
    for reward, factor in reversed(list(pairs)):
        value = reward + factor * value
        returns.append(value)
    result = np.array(returns[::-1], np.float32)
    if failure_reward is None:
        return result
    last = np.flatnonzero(ends)
    last_rewards = rewards[last[np.searchsorted(last, np.arange(len(ends)))]]
    failed = last_rewards == np.float32(failure_reward)
    return np.where(failed, np.float32(failure_reward / (1.0 - discount)), result)


class RewardTransform(struct.PyTreeNode):
    """An affine map of rewards, `reward * scale + bias`; data stay raw without it.

    Attributes:
        scale: `[]`.
        bias: `[]`.
    """

    scale: jax.Array
    bias: jax.Array

    def __call__(self, rewards: jax.Array) -> jax.Array:
        """Returns transformed rewards of the same shape."""
        return rewards * self.scale + self.bias

    @classmethod
    def identity(cls) -> RewardTransform:
        """Returns the transform that changes nothing."""
        return cls.affine(1.0, 0.0)

    @classmethod
    def affine(cls, scale: float, bias: float) -> RewardTransform:
        """Returns `reward * scale + bias`; AntMaze has (1, -1) or (10, -5)."""
        return cls(np.asarray(scale, np.float32), np.asarray(bias, np.float32))

    @classmethod
    def range(
        cls, dataset: Dataset, scale: float = 1.0, bias: float = 0.0
    ) -> RewardTransform:
        """Returns `1000 * reward / (highest - lowest return)`, CORL's for locomotion.

        Its returns are those of `return_range`, oddities included, so that the
        constant is the published one.

        Args:
            dataset: offline transitions with raw rewards.
            scale: applied after that; CQL and Cal-QL configure it.
            bias: likewise.
        """
        low, high = return_range(dataset)
        if not high > low:
            raise checks.UserError(
                f"Returns range from {low} to {high}, so rewards cannot be scaled by "
                "their range. Allowed are data with two different returns. Use the "
                "identity or an affine reward transform."
            )
        return cls.affine(scale * RANGE_WINDOW / (high - low), bias)


def segment_ends(dataset: Dataset) -> np.ndarray:
    """Returns the rows that end a segment, cut as CORL cuts; at least one.

    A segment ends at a terminal or after exactly 1000 transitions, and nowhere else.
    Transitions at time limits are not in the data, so the segments drift across the
    borders of episodes that ran into them.
    """
    ends = np.flatnonzero(_cut(dataset.masks == 0, RANGE_WINDOW))
    if ends.size == 0:
        raise checks.UserError(
            f"{len(dataset.rewards)} transitions without a terminal contain no whole "
            f"segment; at least {RANGE_WINDOW} or a terminal are needed. Give more "
            "data, the identity or an affine reward transform, and "
            "config.dataset.drop_unfinished=False."
        )
    return ends


def drop_unfinished(dataset: Dataset) -> Dataset:
    """Returns the data up to the end of their last whole segment, as CORL's BC does."""
    kept = segment_ends(dataset)[-1] + 1
    return jax.tree.map(lambda leaf: leaf[:kept], dataset)


def return_range(dataset: Dataset) -> tuple[float, float]:
    """Returns the lowest and the highest return of the segments of `segment_ends`.

    What follows the last end does not count.
    """
    ends = segment_ends(dataset)
    starts = np.concatenate([[0], ends[:-1] + 1])
    rewards = dataset.rewards[: ends[-1] + 1].astype(np.float64)
    returns = np.add.reduceat(rewards, starts)
    return float(returns.min()), float(returns.max())


class Normalizer(struct.PyTreeNode):
    """Centers and scales observations; carried in the state of a run.

    Attributes:
        mean: `[O]`.
        std: `[O]`, the standard deviation plus 1e-3.
    """

    mean: jax.Array
    std: jax.Array

    def __call__(self, observations: jax.Array) -> jax.Array:
        """Returns `[..., O]` observations, normalized."""
        return (observations - self.mean) / self.std

    @classmethod
    def identity(cls, size: int) -> Normalizer:
        """Returns the normalizer that changes nothing, for `O` of `size`."""
        return cls(np.zeros(size, np.float32), np.ones(size, np.float32))

    @classmethod
    def fit(cls, observations: np.ndarray) -> Normalizer:
        """Returns the normalizer of `[M, O]` observations.

        Population standard deviation, summed in float64. CORL sums in float32, which
        over a million rows is off by up to about 3e-4 in the mean and 1e-3 in the
        standard deviation of a feature of mean 10; we keep the exact value.
        """
        chex.assert_rank(observations, 2)
        mean = np.mean(observations, axis=0, dtype=np.float64)
        std = np.std(observations, axis=0, dtype=np.float64) + STD_OFFSET
        return cls(mean.astype(np.float32), std.astype(np.float32))


def episode_returns(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the undiscounted return of every episode that ended in the rows."""
    ends = np.flatnonzero(rows["terminals"] | rows["timeouts"])
    totals = np.cumsum(rows["rewards"], dtype=np.float64)[ends]
    return np.diff(totals, prepend=0.0)
