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
