"""Whether the rows of a user's file can be what they are taken for.

Such files are silently wrong in ways that no type or shape shows: rows in shuffled
order, time limits that nobody flagged, actions in the units of the environment. What
is beyond doubt is refused, with the ways out; what is likely is a warning.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from samg_jax import checks
from samg_jax.data import continuity, d4rl, row_order, successors
from samg_jax.envs import tasks

# A file in the units of its environment comes this close to the bounds.
TOUCHES = 0.8
# Steps of restarts are longer than all others by this factor, and at least so many.
RESTART_GAP = 3.0
RESTARTS = 3
# An episode of a single step is possible, a file full of them hardly.
MANY_ENDS = 0.5
MOST_COLUMNS = 32
# Share of the spread of all rows that is left among rows that begin an episode.
ALIKE = 0.7


def check(
    source: str,
    raw: d4rl.Own,
    task: tasks.Task,
    order_uses: Sequence[str],
    warn: Callable[[str], None],
) -> None:
    """Refuses rows that cannot be what they are taken for; warns of likely faults.

    Args:
        source: the file.
        raw: its rows.
        task: that they are said to belong to.
        order_uses: fields of the config that need the rows in order.
        warn: receives what is likely wrong.
    """
    check_units(source, raw.actions, task, warn)
    limit = task.max_episode_steps
    if raw.next_observations is None:
        continuity.check(source, raw, warn)
        row_order.check_rows(source, raw, limit, warn)
        if raw.timeouts is not None:
            check_restarts(source, raw, limit, warn)
    else:
        successors.check(source, raw, warn)
        row_order.check_uses(source, raw, order_uses)
    warn_of_flags(source, raw, warn)
    if not task.sparse:
        warn_of_terminals(source, raw, limit, warn)
        warn_of_early_timeouts(source, raw, limit, warn)
    warn_of_empty_rows(source, raw, warn)
    if not raw.rewards.any():
        warn(
            f"All {len(raw.rewards):,} 'rewards' in {source} are 0, so that there is "
            "nothing to learn. Write the rewards that the environment returned."
        )


def check_units(
    source: str,
    actions: np.ndarray,
    task: tasks.Task,
    warn: Callable[[str], None],
) -> None:
    """Refuses actions that fill the environment's bounds, if these are inside [-1, 1].

    Args:
        source: the file.
        actions: `[T, A]`, checked to be in [-1, 1].
        task: of the environment; its bounds are [-1, 1] if it has none.
        warn: receives actions that stay inside the bounds without filling them.
    """
    if task.action_bounds is None:
        return
    low, high = (np.asarray(bound) for bound in task.action_bounds)
    narrow = (low >= -1.0) & (high <= 1.0) & (high - low < 1.9)
    if not narrow.any():
        return
    lowest, highest = actions.min(axis=0), actions.max(axis=0)
    inside = (lowest >= low - 1e-4) & (highest <= high + 1e-4)
    if not inside[narrow].all() or not np.ptp(actions, axis=0)[narrow].any():
        return
    touching = (highest - lowest >= TOUCHES * (high - low)) & narrow
    column = int((touching if touching.any() else narrow).argmax())
    given = (
        f"'actions' in {source} are between {lowest[column]:.4g} and "
        f"{highest[column]:.4g} in column {column}, and {task.env_id} has the bounds "
        f"{low[column]:.4g} and {high[column]:.4g}"
    )
    if not touching.any():
        warn(
            f"{given}. Actions here are fractions of the bounds, from -1 to 1. If "
            "these are in the units of the environment, rescale them: "
            "2 * (action - low) / (high - low) - 1."
        )
        return
    raise checks.UserError(
        f"{given}: they look as if they were in its units. Actions here are fractions "
        "of the bounds, from -1 to 1, so that each would be executed much smaller "
        "than recorded. Rescale them, 2 * (action - low) / (high - low) - 1, and write "
        "the file again. If they are fractions already, wrap the environment with "
        "gymnasium.wrappers.RescaleAction(env, -1.0, 1.0) and register it under an id "
        "of its own."
    )


def check_restarts(
    source: str,
    raw: d4rl.Own,
    limit: int | None,
    warn: Callable[[str], None],
) -> None:
    """Refuses `timeouts` that are not set where episodes obviously restart.

    Args:
        source: the file.
        raw: its rows in order, without `next_observations`.
        limit: time limit of the task, None without one.
        warn: receives what is likely only.
    """
    ends = np.flatnonzero(np.append(row_order.ends(raw)[:-1], True))
    lengths = np.diff(ends, prepend=-1)
    longest = int(lengths.max())
    flagged = int(raw.timeouts[:-1].sum())
    steps = step_sizes(raw)
    restarts = _outstanding(steps)
    if limit is not None and longest > limit + 1:
        counted = _counted(ends, lengths, limit)
        ranks = np.searchsorted(np.sort(steps), steps[counted]) / len(steps)
        if ranks.mean() >= (0.9 if len(counted) >= RESTARTS else 0.99):
            restarts = counted
    # What it begins with there is what the flagged episodes begin with, too.
    starts = np.append(ends[:-1], restarts) + 1 if flagged else restarts + 1
    obvious = len(restarts) >= 2 and _alike(raw.observations, starts)
    # A system whose episodes are flagged may jump by itself.
    beyond = (limit is None and not flagged) or (limit or longest) < longest - 1
    given = f"'timeouts' in {source} are "
    given += f"set in {flagged:,} rows only" if flagged else "never set"
    remedy = (
        "Set 'timeouts' in the last row of each episode that was cut off, or write "
        "the true 'next_observations'"
    )
    if limit is not None:
        remedy += f", or leave 'timeouts' out: then each {limit} rows are counted"
    if obvious and beyond:
        raise checks.UserError(
            f"{given}, but the environment restarts there, after row {restarts[0]} "
            f"for example: {len(restarts):,} transitions would lead from the end of "
            f"an episode into the next one. {remedy}."
        )
    if obvious or (limit is not None and longest > limit + 1):
        found = f"after row {restarts[0]} it seems to restart" if obvious else ""
        found = found or f"it has an episode of {longest:,} rows, over its time limit"
        warn(f"{given}, and {found}. If episodes were cut off: {remedy}.")


def step_sizes(raw: d4rl.Raw) -> np.ndarray:
    """`[T - 1]` sizes of the steps to the following row, 0 after the end of an episode.

    Each column counts by its own usual step, and none for more than 100 of them. Of
    many columns some are taken, and of many rows some say what is usual.
    """
    columns = np.linspace(0, raw.observations.shape[1] - 1, MOST_COLUMNS).astype(int)
    columns = np.unique(columns)
    steps = np.abs(np.diff(raw.observations[:, columns], axis=0))
    alive = ~row_order.ends(raw)[:-1]
    sample = steps[:: max(len(steps) // row_order.PAIRS, 1)]
    usual = np.array(
        [np.median(column[column > 0]) if column.any() else 0 for column in sample.T]
    )
    moving = usual > 0
    if not moving.any():
        return np.zeros(len(steps))
    return np.minimum(steps[:, moving] / usual[moving], 100).mean(axis=1) * alive


def _counted(ends: np.ndarray, lengths: np.ndarray, limit: int) -> np.ndarray:
    """The rows at which a limit falls due, counted from the start of each episode."""
    starts = ends - lengths + 1
    pairs = zip(starts, ends, strict=True)
    return np.concatenate(
        [np.arange(start + limit - 1, end, limit) for start, end in pairs]
    )


def _outstanding(steps: np.ndarray) -> np.ndarray:
    """The rows, at most a tenth, whose steps are longer than all others by a gap."""
    longest_first = np.argsort(-steps, kind="stable")[: len(steps) // 10 + 1]
    sizes = steps[longest_first]
    gaps = np.flatnonzero(sizes[:-1] > RESTART_GAP * np.maximum(sizes[1:], 1e-12))
    gaps = gaps[gaps + 1 >= RESTARTS]
    return np.sort(longest_first[: gaps[-1] + 1]) if gaps.size else gaps


def _alike(observations: np.ndarray, starts: np.ndarray) -> bool:
    """Whether the rows at `starts` differ less among themselves than rows do."""
    spread = observations.std(axis=0)
    varies = spread > 0
    ratios = observations[starts].std(axis=0)[varies] / spread[varies]
    return bool(ratios.size) and float(ratios.mean()) < ALIKE


def warn_of_terminals(
    source: str,
    raw: d4rl.Own,
    limit: int | None,
    warn: Callable[[str], None],
) -> None:
    """Warns if most terminals come exactly when the time is up."""
    if limit is None or (
        raw.next_observations is not None and not row_order.given(raw)
    ):
        return
    rows = np.flatnonzero(row_order.ends(raw))
    lengths = np.diff(rows, prepend=-1)
    at_limit = int((raw.terminals[rows] & (lengths == limit)).sum())
    total = int(raw.terminals.sum())
    if at_limit >= RESTARTS and at_limit > total / 2:
        warn(
            f"{at_limit:,} of {total:,} 'terminals' in {source} come exactly at the "
            f"time limit of {limit} steps. A terminal says that nothing follows; if "
            "only the time was up, the flag belongs into 'timeouts'."
        )


def warn_of_flags(source: str, raw: d4rl.Raw, warn: Callable[[str], None]) -> None:
    """Warns if more than half of all rows are flagged as the end of an episode."""
    rows = len(raw.rewards)
    terminals, ends = int(raw.terminals.sum()), int(row_order.ends(raw).sum())
    if terminals > MANY_ENDS * rows:
        warn(
            f"{terminals:,} of {rows:,} rows in {source} are flagged as 'terminals': "
            "nothing follows them, so that only their own rewards count. If 0 and 1 "
            "are swapped, as in masks of 1 - terminal, write 1 - terminals. Flag only "
            "the last row of an episode that truly ended."
        )
    elif ends > MANY_ENDS * rows:
        warn(
            f"{ends:,} of {rows:,} rows in {source} are flagged as the end of an "
            "episode, most of them in 'timeouts'. A row with a timeout is left out if "
            "its successor is unknown, or is the first observation of the next "
            "episode. If 0 and 1 are swapped, write 1 - timeouts. Flag only the last "
            "row of an episode that was cut off."
        )


def warn_of_early_timeouts(
    source: str,
    raw: d4rl.Own,
    limit: int | None,
    warn: Callable[[str], None],
) -> None:
    """Warns if nothing terminates, and most timeouts come before the time is up."""
    if limit is None or raw.timeouts is None or raw.terminals.any():
        return
    rows = np.flatnonzero(raw.timeouts)
    if len(rows) > MANY_ENDS * len(raw.rewards) or not row_order.given(raw):
        return
    lengths = np.diff(rows, prepend=-1)
    early = int((lengths < limit).sum())
    # Pieces of one length were cut so on purpose.
    if early > max(RESTARTS, len(rows) / 2) and len(np.unique(lengths)) > RESTARTS:
        warn(
            f"'terminals' in {source} are never set, and {early:,} of {len(rows):,} "
            f"'timeouts' come before the time limit of {limit} steps. If the "
            "environment ended these episodes, the flags belong into 'terminals'; if "
            "they were cut off, go on."
        )


def warn_of_empty_rows(source: str, raw: d4rl.Own, warn: Callable[[str], None]) -> None:
    """Warns of rows of zeros at the end, declared beforehand and never filled."""
    filled = raw.observations.any(axis=1) | raw.actions.any(axis=1) | (raw.rewards != 0)
    empty = len(filled) - int(np.flatnonzero(filled).max(initial=-1)) - 1
    if empty >= 2:
        warn(
            f"The last {empty:,} rows of {source} are all zeros, as if they had been "
            "declared and never filled. If so, cut them off."
        )


def check_successes(source: str | pathlib.Path, raw: d4rl.Raw) -> None:
    """Refuses rewards of a task that rewards its goal alone, if they do not say so.

    Success is a positive reward, and 0 is none: of a file with -1 and 0 every success
    would be read as a failure, by Cal-QL as one for ever.
    """
    if not raw.rewards.any():
        raise checks.UserError(
            f"All {len(raw.rewards):,} rewards in {source} are 0. The task rewards its "
            "goal alone, so at least one row must have another reward; without it "
            "nothing can be learned. Take D4RL's '..._sparse_fixed.hdf5' of the "
            "-v2 datasets, or label the rewards of your file again."
        )
    low, high = float(raw.rewards.min()), float(raw.rewards.max())
    if low != 0:
        raise checks.UserError(
            f"The rewards in {source} go from {low:g} to {high:g}. The task rewards "
            "its goal alone: a reward must be 0, and positive at the goal, as in "
            f"D4RL's files. If {low:g} stands for no success, "
            f"{'add' if low < 0 else 'subtract'} {abs(low):g} and write the file "
            "again. For rewards of -1 and 0 in training, set "
            "config.dataset.reward_transform=affine and config.dataset.reward_bias=-1."
        )
    successes = float((raw.rewards > 0).mean())
    if successes > 0.5:
        raise checks.UserError(
            f"{successes:.0%} of the rewards in {source} are positive, which says that "
            "these rows reach the goal. The task rewards its goal alone. If 0 stands "
            "for success here, write 1 - reward, and the file again."
        )
