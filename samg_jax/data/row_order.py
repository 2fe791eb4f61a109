"""Whether rows follow each other: what row order says, and when it says nothing.

Without `next_observations`, the successor of a row is the following row. In a shuffled
file nothing ties one to the other, and every transition made of it is false. The test
is on differences between rows that are near each other in the file, so that data whose
level drifts, or that are put together of several policies, do not look ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from samg_jax import checks
from samg_jax.data import d4rl

# With fewer pairs, chance and order cannot be told apart.
LEAST_PAIRS = 200
PAIRS = 20_000
REACH = 50  # Two rows that are compared are at most so many apart.
# How seldom rows with independent columns are as near to each other.
UNLIKELY = 0.05
QUERIES = 200
# A step from one transition to the next that is longer than this is a new episode.
JUMP = 1e-6

REMEDY = (
    "Write the rows in the order in which they were collected, with 'terminals' and "
    "'timeouts' at the ends of episodes, or add the array 'next_observations' with the "
    "true successor of each row: then any order will do"
)


def given(raw: d4rl.Own) -> bool:
    """Whether the rows are in the order of their episodes, or nothing denies it."""
    return raw.next_observations is None or continued(raw) >= 0.5


def continued(raw: d4rl.Own) -> float:
    """Share of rows whose stored successor is the following row, flagged ends aside."""
    rows = inner(raw)
    if not rows.size:
        return 1.0
    gaps = raw.observations[rows + 1] - raw.next_observations[rows]
    return float((np.linalg.norm(gaps, axis=1) <= JUMP).mean())


def check_uses(source: str, raw: d4rl.Own, uses: Sequence[str]) -> None:
    """Refuses settings that need episodes, on rows that are not in their order.

    Args:
        source: the file.
        raw: its rows, with `next_observations`.
        uses: the settings, each with what to set instead.
    """
    if uses and not given(raw):
        raise checks.UserError(
            f"Only {continued(raw):.0%} of the rows in {source} are followed by their "
            "own successor, so they are not in the order of their episodes. Some "
            f"settings need that order: {'; '.join(uses)}. Write the rows in order, or "
            "change these settings."
        )


def check_rows(
    source: str,
    raw: d4rl.Own,
    limit: int | None,
    warn: Callable[[str], None],
) -> None:
    """Refuses rows in shuffled order, if it shows; warns if it is only likely.

    Args:
        source: the file.
        raw: its rows, without `next_observations`.
        limit: time limit of the task, None without one.
        warn: receives the doubt.
    """
    rows = inner(raw)
    if len(rows) < LEAST_PAIRS or tied(raw, rows, raw.observations[rows + 1]):
        return
    text = (
        f"In {source} no row has anything to do with the following one, as if the "
        f"rows were shuffled, and there are no 'next_observations'. {REMEDY}."
    )
    if _too_long(raw, limit) or structured(raw.observations):
        raise checks.UserError(text)
    warn(f"{text} If the observations really are independent, go on.")


def tied(raw: d4rl.Raw, rows: np.ndarray, successors: np.ndarray) -> bool:
    """Whether successors depend on their rows, or chance alone is not excluded.

    Compares two rows near each other: if they differ in a column of observation or
    action, do their successors differ in a column the same way? Signs alone count, so
    that no scale and no outlier matters. In shuffled rows, none of these correlations
    is larger than chance makes it.

    Args:
        raw: all rows.
        rows: `[n]` those that have a successor, ascending.
        successors: `[n, O]`.
    """
    rng = np.random.default_rng(0)
    count = len(rows)
    first = rng.permutation(count - 2)[:PAIRS]
    reach = min(REACH, count // 4)
    second = np.minimum(first + rng.integers(2, reach + 1, len(first)), count - 1)
    inputs = np.concatenate([raw.observations, raw.actions], axis=1)
    cause = np.sign(inputs[rows[first]] - inputs[rows[second]])
    effect = np.sign(successors[first] - successors[second])
    scores = _scores(cause, effect)
    return not scores.size or _beyond_chance(scores)  # None: hardly any change.


def structured(observations: np.ndarray) -> bool:
    """Whether rows are those of a system, and not noise in every column.

    Then independent rows are no noise either, but shuffled.
    """
    rng = np.random.default_rng(0)
    first = rng.permutation(len(observations))[:PAIRS]
    signs = np.sign(observations[first] - observations[np.roll(first, 1)])
    size = signs.shape[1]
    scores = _scores(signs, signs, ~np.eye(size, dtype=bool))
    dependent = bool(scores.size) and _beyond_chance(scores)
    return dependent or _on_trajectories(observations)


def _scores(
    cause: np.ndarray, effect: np.ndarray, among: np.ndarray | bool = True
) -> np.ndarray:
    """Correlations of signs, each in standard deviations of what chance makes."""
    counts = np.abs(cause).T @ np.abs(effect)
    scores = np.abs(cause.T @ effect) / np.sqrt(np.maximum(counts, 1.0))
    return scores[(counts >= LEAST_PAIRS // 4) & among]


def _beyond_chance(scores: np.ndarray) -> bool:
    # The largest of so many normal numbers, and three standard deviations; a row is in
    # two pairs, which makes their deviations a fifth larger.
    bound = 1.2 * (np.sqrt(2.0 * np.log(max(scores.size, 2))) + 3.0)
    return bool(scores.max() > bound)


def _on_trajectories(observations: np.ndarray) -> bool:
    """Whether rows lie along curves, as those of a system that moves step by step.

    Then the nearest other row is nearer than it would be among rows whose columns had
    nothing to do with each other: for most rows, nearer than a twentieth of those.
    """
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(observations))[:PAIRS]
    sample = observations[rows].astype(np.float64)
    spread = sample.std(axis=0)
    sample = sample[:, spread > 0] / spread[spread > 0]
    if sample.shape[1] < 2:
        return False
    mixed = np.stack([rng.permutation(column) for column in sample.T], axis=1)
    far = np.quantile(_nearest(mixed), UNLIKELY)
    return bool((_nearest(sample) < far).mean() > 0.5)


def _nearest(rows: np.ndarray) -> np.ndarray:
    """Distances of the first rows to their nearest other one."""
    queries = rows[:QUERIES]
    squares = (queries**2).sum(1)[:, None] + (rows**2).sum(1) - 2.0 * queries @ rows.T
    squares[np.arange(len(queries)), np.arange(len(queries))] = np.inf
    return np.sqrt(np.maximum(squares.min(axis=1), 0.0))


def ends(raw: d4rl.Raw) -> np.ndarray:
    """`[T]` bool, the rows that are flagged as the end of an episode."""
    return raw.terminals | (False if raw.timeouts is None else raw.timeouts)


def inner(raw: d4rl.Raw) -> np.ndarray:
    """The rows that are not flagged as ends, the last row left out."""
    return np.flatnonzero(~ends(raw)[:-1])


def _too_long(raw: d4rl.Own, limit: int | None) -> bool:
    """Whether an episode is longer than the time limit, although timeouts are set."""
    if limit is None or raw.timeouts is None or not raw.timeouts[:-1].any():
        return False
    rows = np.flatnonzero(ends(raw))
    return int(np.diff(rows, prepend=-1).max()) > limit + 1
