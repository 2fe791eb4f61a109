"""Where rows in the order of their episodes do not go on as their flags say.

Without `next_observations` the following row is the successor, and the flags alone say
where an episode ends. Environments written in turn, flags beside the jumps of the
restarts, and a part of the file that was shuffled each make false transitions that the
whole file does not show. All is judged by the sizes of steps, in samples of the rows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from samg_jax import checks
from samg_jax.data import d4rl, row_order

MOST_BESIDE = 64  # Environments written in turn, at most.
NEARER = 0.5  # Share of the usual step to the next row, of a step to the row that fits.
LEAST_FLAGS = 5
MOST = 0.7  # Share of the flags that must tell the same.
SAME = 0.01  # Share of a step that is none.
JUMP = 3.0  # A restart is so many times longer than the steps that go on.
COMPACT = 0.3  # Deviation of the starts of episodes, at most.
RESTARTS = 3
PARTS = 8  # Parts of a file that are judged by themselves.
LEAST_ROWS = 1_600
MIXED, SMOOTH = 0.9, 0.5  # Step to the next row over that to any: shuffled, in order.
SAMPLE = 20_000
COLUMNS = 24


def check(source: str, raw: d4rl.Own, warn: Callable[[str], None]) -> None:
    """Refuses rows that do not go on as they must.

    Args:
        source: the file.
        raw: its rows, without `next_observations`.
        warn: receives what is likely wrong.
    """
    rows = scaled(raw.observations)
    if not rows.size or len(rows) < row_order.LEAST_PAIRS:
        return
    check_side_by_side(source, rows)
    check_runs_of_flags(source, raw)
    check_flags(source, rows, row_order.ends(raw))
    check_parts(source, rows, raw)
    if raw.timeouts is not None:
        warn_of_starts(source, rows, row_order.ends(raw), warn)


def scaled(observations: np.ndarray) -> np.ndarray:
    """`[T, C]` some of the columns that vary, each in its standard deviations."""
    places = np.linspace(0, len(observations) - 1, min(SAMPLE, len(observations)))
    spread = observations[places.astype(int)].std(axis=0, dtype=np.float64)
    moving = np.flatnonzero(np.isfinite(spread) & (spread > 0))
    if len(moving) > COLUMNS:
        moving = moving[np.linspace(0, len(moving) - 1, COLUMNS).astype(int)]
    return observations[:, moving] / spread[moving].astype(np.float32)


def distances(rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`[n]` how far pairs of rows are apart."""
    return np.abs(rows[first] - rows[second]).mean(axis=1)


def check_side_by_side(source: str, rows: np.ndarray) -> None:
    """Refuses environments that were written row by row in turn."""
    rng = np.random.default_rng(0)
    most = min(MOST_BESIDE, len(rows) // 8)
    first = rng.permutation(len(rows) - 2 * most)[: SAMPLE // 4]
    usual = [
        float(np.median(distances(rows, first, first + k)))
        for k in range(1, 2 * most + 1)
    ]
    near = np.array(usual[:most])
    step = int((near <= 1.1 * near.min() + SAME * usual[0]).argmax()) + 1
    # A system that swings comes back as near, and stays as near the next time.
    away = usual[2 * step - 1] > 1.2 * usual[step - 1] + SAME * usual[0]
    if step > 1 and usual[step - 1] < NEARER * usual[0] and away:
        raise checks.UserError(
            f"The rows of {source} go on {step} rows later, much nearer than in the "
            f"following row, as if {step} environments had been written in turn. The "
            "following row would be taken for the successor. Write one environment "
            f"after the other, rows i, i + {step}, i + {2 * step} and so on, each with "
            "a flag in 'timeouts' at its end, or add 'next_observations'."
        )


def check_runs_of_flags(source: str, raw: d4rl.Own) -> None:
    """Refuses timeouts that follow each other, as in rows sorted by their time."""
    if raw.timeouts is None:
        return
    flags = np.flatnonzero(raw.timeouts)
    if len(flags) < LEAST_FLAGS or len(flags) > len(raw.timeouts) / 2:
        return  # Of the latter it is warned elsewhere.
    together = int((np.diff(flags) == 1).sum())
    if together > MOST * len(flags):
        raise checks.UserError(
            f"{together:,} of {len(flags):,} 'timeouts' in {source} come directly "
            "after another one, as if the rows were sorted by their time step, or the "
            f"flag were set in more than the last row. {row_order.REMEDY}."
        )


def check_flags(source: str, rows: np.ndarray, ends: np.ndarray) -> None:
    """Refuses flags in the row beside the one after which the environment restarts."""
    flags = np.flatnonzero(ends)
    flags = flags[(flags >= 2) & (flags < len(rows) - 2)]
    alone = ~ends[flags - 1] & ~ends[flags + 1]
    flags = flags[alone]
    if len(flags) < LEAST_FLAGS:
        return
    rng = np.random.default_rng(0)
    flags = rng.permutation(flags)[:SAMPLE]
    others = rng.permutation(len(rows) - 1)[:SAMPLE]
    usual = float(np.quantile(distances(rows, others, others + 1), 0.5))
    sizes = {by: distances(rows, flags + by, flags + by + 1) for by in (-1, 0, 1)}
    for by, words, cause in (
        (-1, "before", "one row too late, or the rows run backwards in time"),
        (1, "after", "one row too early"),
    ):
        longest = np.maximum(sizes[0], sizes[-by])
        jumps = (sizes[by] > JUMP * longest) & (sizes[by] > JUMP * usual)
        if jumps.mean() > MOST:
            raise checks.UserError(
                f"The flags in {source} are not where the environment restarts: for "
                f"{int(jumps.sum()):,} of {len(jumps):,} ends of episodes it jumps one "
                f"row {words}. 'terminals' and 'timeouts' seem to be set {cause}. Flag "
                "the last row of each episode, that of its last action."
            )


def warn_of_starts(
    source: str, rows: np.ndarray, ends: np.ndarray, warn: Callable[[str], None]
) -> None:
    """Warns of jumps to where episodes begin, without a flag."""
    begin = np.flatnonzero(ends[:-1]) + 1
    if len(begin) < LEAST_FLAGS:
        return
    starts = rows[np.append(0, begin)]
    low, high = starts.min(axis=0), starts.max(axis=0)
    if (starts.std(axis=0) > COMPACT).any():  # In standard deviations of all rows.
        return
    margin = 0.2 * (high - low)
    inside = ((rows >= low - margin) & (rows <= high + margin)).all(axis=1)
    inside[begin] = inside[0] = False
    again = np.flatnonzero(inside)
    jump = np.median(distances(rows, begin - 1, begin))
    some = np.random.default_rng(0).permutation(len(rows) - 1)[:SAMPLE]
    usual = np.median(distances(rows, some, some + 1))
    far = max(0.25 * jump, JUMP * usual)
    jumps = again[distances(rows, again - 1, again) > far]
    if len(jumps) >= RESTARTS and jump > JUMP * usual:
        warn(
            f"{len(jumps):,} rows in {source} jump to where an episode begins as after "
            f"a flag, row {jumps[0]:,} for example, but no flag is set before them. "
            "If episodes end there, set 'timeouts' or 'terminals' in the row before, "
            "or add 'next_observations'."
        )


def check_parts(source: str, rows: np.ndarray, raw: d4rl.Own) -> None:
    """Refuses a part of the file whose rows are shuffled, where others are not."""
    if len(rows) < LEAST_ROWS:
        return
    bounds = np.linspace(0, len(rows), PARTS + 1).astype(int)
    rng = np.random.default_rng(0)
    ratios = []
    for begin, end in itertools.pairwise(bounds):
        first = begin + rng.permutation(end - begin - 1)[: SAMPLE // PARTS]
        near = np.median(distances(rows, first, first + 1))
        far = np.median(distances(rows, first, rng.permutation(first)))
        ratios.append(near / far if far > 0 else SMOOTH)
    if min(ratios) > SMOOTH:
        return
    for place in np.flatnonzero(np.array(ratios) > MIXED):
        begin, end = bounds[place], bounds[place + 1]
        names = [name for name in d4rl.KEYS if getattr(raw, name) is not None]
        part = {name: getattr(raw, name)[begin:end] for name in names}
        own = dataclasses.replace(raw, **part)
        inner = row_order.inner(own)
        if len(inner) >= row_order.LEAST_PAIRS // 2 and not row_order.tied(
            own, inner, own.observations[inner + 1]
        ):
            raise checks.UserError(
                f"Rows {begin:,} to {end - 1:,} of {source} have nothing to do with "
                "the following ones, as if a part of the file were shuffled, and there "
                f"are no 'next_observations'. {row_order.REMEDY}."
            )
