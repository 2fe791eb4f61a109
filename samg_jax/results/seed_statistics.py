"""The mean over seeds and its interval, as numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special  # `scipy.stats` takes a second to import.


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The mean and the half-width of its Student-t confidence interval.

    Args:
        values: One value per seed; a single one has the half-width NaN.
        level: The level of confidence.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    quantile = special.stdtrit(len(values) - 1, 0.5 + level / 2)
    return float(values.mean()), float(error * quantile)


def interval_text(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    """`interval` in words; a dash if there are no values.

    Args:
        values: One value per seed.
        digits: Digits after the point.
        sign: `+` to print the sign of a gain, too.
    """
    if not len(values):
        return "-"
    mean, width = interval(values)
    text = f"{mean:{sign}.{digits}f}"
    return text if np.isnan(width) else f"{text} ± {width:.{digits}f}"


def seed_lines(
    seeds: Sequence[int],
    values: np.ndarray,
    lasting: np.ndarray,
    forms: Sequence[str],
    widths: tuple[int, int],
    blank: Sequence[int] = (),
) -> list[str]:
    """A line for each seed, one for their mean, and one for its 95 % interval.

    Args:
        seeds: `[S]` values of the seeds.
        values: `[S, K]` numbers.
        lasting: `[S]` whether a seed stayed finite; the others are in no mean.
        forms: `[K]` formats of the numbers, such as `+.1f`.
        widths: The letters of the first and of every other column.
        blank: Columns without an interval.
    """

    def line(name, cells):
        return f"{name:<{widths[0]}}" + "".join(
            f"{cell:>{widths[1]}}" for cell in cells
        )

    def numbers(row):
        return map(format, row, forms)

    lines = [
        line(f"seed {seed}", numbers(row)) + ("" if lasts else "  failed")
        for seed, row, lasts in zip(seeds, values, lasting, strict=True)
    ]
    kept = values[np.asarray(lasting, bool)]
    if len(kept):
        note = "" if len(kept) == len(values) else f"  of {len(kept)} that lasted"
        lines.append(line("mean", numbers(kept.mean(axis=0))) + note)
    if len(kept) > 1:
        halves = [interval(column)[1] for column in kept.T]
        cells = [
            "" if index in blank else f"±{half:{form.removeprefix('+')}}"
            for index, (half, form) in enumerate(zip(halves, forms, strict=True))
        ]
        lines.append(line("95 % interval", cells))
    return lines
