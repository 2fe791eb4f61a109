"""Numbers that summarize a run over its seeds."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special  # `scipy.stats` takes a second to import.

if TYPE_CHECKING:  # Curves are drawn with these statistics.
    from samg_jax.results.curves import Row


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Returns the mean and the half-width of its Student-t confidence interval.

    Args:
        values: one per seed; the half-width is NaN for a single one.
        level: of confidence.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    quantile = special.stdtrit(len(values) - 1, 0.5 + level / 2)
    return float(values.mean()), float(error * quantile)


def interval_text(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    """Returns `interval` in words; a dash where there are no values.

    Args:
        values: one per seed.
        digits: after the point.
        sign: `+` for one before a gain, too.
    """
    if not len(values):
        return "-"
    mean, width = interval(values)
    text = f"{mean:{sign}.{digits}f}"
    return text if np.isnan(width) else f"{text} ± {width:.{digits}f}"


class SeedOutcome(NamedTuple):
    """How one seed's scores went.

    Attributes:
        seed: its value.
        start: score of the policy with which fine-tuning begins.
        end: last score; `start` where nothing was fine-tuned.
        lowest: lowest score of the online phase, that of its first policy included.
        failed: whether the seed became non-finite.
        scores: environment step -> score, of the online phase; of the last offline
            update where nothing was fine-tuned, as of step 0.
    """

    seed: int
    start: float
    end: float
    lowest: float
    failed: bool
    scores: Mapping[int, float] = types.MappingProxyType({})


def courses(rows: Sequence[Row], normalized: bool) -> list[SeedOutcome]:
    """Returns every seed's course, by seed.

    Args:
        rows: of `metrics.csv`.
        normalized: whether the task has reference scores; raw returns otherwise.
    """
    value = (lambda r: r.normalized_score) if normalized else (lambda r: r.return_mean)
    online = [row for row in rows if row.phase == "online"]
    scored = online or [row for row in rows if row.phase == "offline"]
    result = []
    for seed in sorted({row.seed for row in scored}):
        own = [row for row in scored if row.seed == seed]
        if not online:  # The last offline score is all that there is.
            own = own[-1:]
        values = [value(row) for row in own]
        failed = bool(own[-1].failed)
        steps = [row.env_step for row in own]
        scores = dict(zip(steps, values, strict=True))
        result.append(
            SeedOutcome(seed, values[0], values[-1], min(values), failed, scores)
        )
    return result


def closing_table(rows: Sequence[Row], normalized: bool) -> str:
    """The offline and the final score of every seed, and their means.

    The offline score is that of the policy with which fine-tuning begins. A run that
    did not fine-tune has no other.

    Args:
        rows: of `metrics.csv`.
        normalized: whether the task has reference scores; raw returns otherwise.
    """
    unit = "normalized score" if normalized else "return"
    seeds = courses(rows, normalized)
    columns = ["offline", "final", "change"]
    if not any(row.phase == "online" for row in rows):
        columns = columns[:1]
    titles = " ".join(f"{column:>10}" for column in columns)
    lines = [f"{unit:<18} {titles}"]
    for course in seeds:
        start, end = course.start, course.end
        texts = (f"{start:>10.1f}", f"{end:>10.1f}", f"{end - start:>+10.1f}")
        cells = " ".join(texts[: len(columns)])
        note = "  failed" if course.failed else ""
        lines.append(f"seed {course.seed:<13} {cells}{note}")
    kept = [course for course in seeds if not course.failed]
    if kept:
        values = np.array([(c.start, c.end, c.end - c.start) for c in kept]).T
        intervals = [interval(column) for column in values[: len(columns)]]
        note = "" if len(kept) == len(seeds) else f"  of {len(kept)} that lasted"
        signs = ("", "", "+")
        pairs = zip(intervals, signs, strict=False)  # One column without fine-tuning.
        means = " ".join(f"{mean:>{sign}10.1f}" for (mean, _), sign in pairs)
        lines.append(f"{'mean':<18} {means}{note}")
    if len(kept) > 1:
        widths = " ".join(f"{f'±{width:.1f}':>10}" for _, width in intervals)
        lines.append(f"{'95 % interval':<18} {widths}")
    return "\n".join(lines)
