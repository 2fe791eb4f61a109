"""Whether stored `next_observations` are the successors of the rows they are in.

A row whose episode goes on has its successor in another row, bit for bit, and a row
that ends an episode leads to an observation that no row has. Shifted successors break
both rules, in rows of any order. Successors that equal no observation, because of noise
or rounding, are judged by distances instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from samg_jax import checks
from samg_jax.data import d4rl, row_order

# Share of the rows that have their successor at the same distance in the file.
MOST = 0.5
MANY = 0.2
# Fewer ends of episodes, or fewer rows, show nothing.
LEAST_ENDS = 3
LEAST_ROWS = 20
# Inexact successors are looked for in this many rows before and after.
REACH = 20
SAMPLE = 5_000

WRITE = "Write in each row the observation that its action led to"
LEAVE_OUT = "or leave the array out if the rows are in order"


class Places(NamedTuple):
    """Where the successors of a file are observations.

    Attributes:
        offset: how many rows further on most of them are, of those that are not in the
            following row; negative for rows before. None if there is no such number.
        rows: `[n]` rows whose successor is the observation there, and not the next one.
        share: of `rows` among those that do not end an episode.
        found: share of the latter whose successor is any row's observation.
        ends: number of rows that are flagged as ends of episodes.
        misplaced: rows that lead to observations of no row, although they are not
            flagged, while flagged ones do not; 0 if flags and successors agree.
    """

    offset: int | None
    rows: np.ndarray
    share: float
    found: float
    ends: int
    misplaced: int


def check(source: str, raw: d4rl.Own, warn: Callable[[str], None]) -> None:
    """Refuses stored successors that cannot be true; warns if it is only likely.

    Args:
        source: the file.
        raw: its rows, with `next_observations`.
        warn: receives the doubt.
    """
    after, before = raw.next_observations, raw.observations
    what = f"'next_observations' in {source}"
    if after.shape != before.shape:
        raise checks.UserError(
            f"{what} have the shape {after.shape}, 'observations' {before.shape}; both "
            "must be the same. Write the file again."
        )
    moving = bool(np.ptp(before, axis=0).any())
    if moving and len(before) > 1 and not np.ptp(after, axis=0).any():
        raise checks.UserError(
            f"{what} are the same in all rows, as if they were never filled. Write "
            f"the true successors, {LEAVE_OUT}."
        )
    if moving and np.array_equal(after, before):
        raise checks.UserError(
            f"{what} are the 'observations' themselves, so that nothing ever moves. "
            f"Write the true successors, {LEAVE_OUT}."
        )
    places = find(raw)
    if moving and _shifted(source, raw, places, warn):
        return
    rows = np.flatnonzero(~raw.terminals)
    too_few = len(rows) < row_order.LEAST_PAIRS
    if row_order.given(raw) or too_few or row_order.tied(raw, rows, after[rows]):
        _check_ends(source, places, warn)
        return
    text = (
        f"{what} have nothing to do with the rows that they are in, as if only one "
        "of both were shuffled. Write them in the same order"
    )
    if _in_order(raw) or row_order.structured(before):
        raise checks.UserError(f"{text}.")
    warn(f"{text}, unless the observations really are independent.")


def _shifted(
    source: str, raw: d4rl.Own, places: Places, warn: Callable[[str], None]
) -> bool:
    """Refuses shifted successors; whether it has warned of such."""
    if places.offset is not None and places.share > MANY:
        text = _said(source, places)
        certain = _certain(raw, places)
        if certain and places.share > MOST:
            raise checks.UserError(f"{text} {WRITE}, {LEAVE_OUT}.")
        if certain or _doubtful(raw, places):
            warn(f"{text} Unless that is meant: {_lower(WRITE)}, {LEAVE_OUT}.")
            return True
    return places.found < MOST and _far(source, raw, warn)


def _certain(raw: d4rl.Own, places: Places) -> bool:
    """Whether no order of the rows explains where the successors are."""
    offset, rows = places.offset, places.rows
    if places.misplaced:
        return True
    if offset == 0:
        return _in_order(raw)
    if offset == -1 or not _consecutive(raw.observations, rows, offset):
        return False
    if offset < 0:
        return True
    # Successors several steps on, but never beyond the end of the episode.
    passed = np.cumsum(row_order.ends(raw))
    return bool((passed[rows + offset - 1] > passed[rows]).mean() > MOST)


def _check_ends(source: str, places: Places, warn: Callable[[str], None]) -> None:
    """Warns of flags and successors that contradict each other."""
    if places.misplaced:
        warn(
            f"The ends of episodes in {source} do not fit its 'next_observations': "
            f"the {places.ends:,} rows flagged as ends lead to observations that "
            f"other rows have, and {places.misplaced:,} rows without a flag to some "
            "that no row has. It seems that one of the arrays is shifted. "
            f"{WRITE}, and the flags in the rows that end an episode."
        )


def _said(source: str, places: Places) -> str:
    if places.offset == 0:
        where = "the row's own observation"
    else:
        count = abs(places.offset)
        side = "after" if places.offset > 0 else "before"
        where = f"the observation {count:,} row{'s' * (count > 1)} {side} it"
    return (
        f"'next_observations' in {source} look shifted: in {places.share:.0%} of the "
        f"rows whose episode goes on it is {where}, and not that of the next row."
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _doubtful(raw: d4rl.Own, places: Places) -> bool:
    """Whether an offset that the ends of episodes do not refute is worth a warning.

    Environments side by side, row by row in turn, and rows in reversed order are as
    they should be.
    """
    if places.offset == 0:
        return places.share > 0.9  # Less if a system rests now and then.
    if places.offset > 0:
        return _consecutive(raw.observations, places.rows, places.offset)
    return places.ends < LEAST_ENDS or places.share <= MOST


def find(raw: d4rl.Own) -> Places:
    """Looks for the successors of all rows among the observations of all rows."""
    keys, wanted = _keys(raw.observations), _keys(raw.next_observations)
    by_key = np.argsort(keys, kind="stable")
    keys = keys[by_key]
    first = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[first] == wanted
    ends = row_order.ends(raw)
    ends[-1] = False  # The last row may be flagged or not.
    inner = row_order.inner(raw)
    lost = ~found & ~ends
    misplaced = int(lost[:-1].sum())
    count = int(ends.sum())
    agreeing = count < LEAST_ENDS or not 0.5 * count <= misplaced <= 1.5 * count
    if agreeing or found[ends].mean() < 0.9:
        misplaced = 0
    known = float(found[inner].mean()) if inner.size else 1.0
    # Observations that several rows have say nothing about where a successor is.
    alone = found & (keys[np.minimum(first + 1, len(keys) - 1)] != wanted)
    offsets = by_key[first[inner]] - inner
    offsets = offsets[alone[inner] & (offsets != 1)]
    if len(inner) < LEAST_ROWS or not offsets.size:
        return Places(None, inner[:0], 0.0, known, count, misplaced)
    values, counts = np.unique(offsets, return_counts=True)
    offset = int(values[counts.argmax()])
    rows = inner[(inner + offset >= 0) & (inner + offset < len(keys))]
    there = raw.observations[rows + offset] == raw.next_observations[rows]
    follows = raw.observations[rows + 1] == raw.next_observations[rows]
    rows = rows[there.all(axis=1) & ~follows.all(axis=1)]
    return Places(offset, rows, len(rows) / len(inner), known, count, misplaced)


def _keys(observations: np.ndarray) -> np.ndarray:
    """`[T]` numbers that are equal for equal observations, and else hardly ever."""
    rng = np.random.default_rng(0)
    bits = (observations + np.float32(0.0)).view(np.uint32)  # -0.0 becomes 0.0.
    keys = np.zeros(len(bits), np.uint64)
    for column in bits.T:
        keys += column * (2 * rng.integers(2**62, dtype=np.uint64) + np.uint64(1))
    return keys


def _in_order(raw: d4rl.Own) -> bool:
    inner = row_order.inner(raw)
    enough = len(inner) >= row_order.LEAST_PAIRS
    return enough and row_order.tied(raw, inner, raw.observations[inner + 1])


def _consecutive(observations: np.ndarray, rows: np.ndarray, offset: int) -> bool:
    """Whether the row beside is nearer than the row `offset` further, as in order."""
    beside = rows + (1 if offset > 0 else -1)
    near = np.linalg.norm(observations[beside] - observations[rows], axis=1)
    far = np.linalg.norm(observations[rows + offset] - observations[rows], axis=1)
    return float(np.median(near)) < float(np.median(far))


def _far(source: str, raw: d4rl.Own, warn: Callable[[str], None]) -> bool:
    """Refuses inexact successors far from rows in order; whether it has warned."""
    inner = row_order.inner(raw)
    inner = inner[(inner >= REACH) & (inner < len(raw.observations) - REACH)]
    if len(inner) < LEAST_ROWS or not _in_order(raw):
        return False
    inner = np.random.default_rng(0).permutation(inner)[:SAMPLE]
    spread = raw.observations.std(axis=0)
    moving = spread > 0
    before = raw.observations[:, moving] / spread[moving]
    after = raw.next_observations[inner][:, moving] / spread[moving]
    steps = np.linalg.norm(before[inner + 1] - before[inner], axis=1)
    gaps = {
        offset: np.linalg.norm(after - before[inner + offset], axis=1)
        for offset in range(-REACH, REACH + 1)
    }
    what = f"'next_observations' in {source}"
    further = gaps[0].mean() / max(steps.mean(), 1e-12)
    text = (
        f"{what} are far from their rows, {further:,.1f} times as far as the following "
        "rows, and equal to none: shifted, or in other units than 'observations'. "
        f"{WRITE}, in the units of 'observations', {LEAVE_OUT}."
    )
    if np.median(gaps[0]) > 3 * np.quantile(steps, 0.99):
        raise checks.UserError(text)
    if further > 3:
        warn(text)
        return True
    offset = _nearest(gaps, np.median(steps))
    if offset == 1 or (offset > 1 and not _consecutive(before, inner, offset)):
        return False
    warn(
        f"{what} look shifted: most are nearest to the observation of row "
        f"{offset:+d}, counted from their own, and not to that of the next row. "
        f"Unless that is meant: {_lower(WRITE)}, {LEAVE_OUT}."
    )
    return True


def _nearest(gaps: dict[int, np.ndarray], step: float) -> int:
    """The offset at which inexact successors are; 1 unless another is much nearer.

    In a file from which rows were taken out, successors are between two rows.
    """
    medians = {offset: float(np.median(gap)) for offset, gap in gaps.items()}
    own, following = medians.pop(0), medians.pop(1)
    if own < 1e-3 * step:
        return 0
    best = min(medians, key=medians.get)
    return best if medians[best] < 0.5 * min(own, following) else 1
