"""Repeated measurements in one line: the median and its spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def summarize(values: Sequence[float]) -> dict[str, float]:
    """The median of repeats, and half of their interquartile range.

    Args:
        values: one per repeat, at least one.
    """
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "spread": float(high - low) / 2}


def ratios(values: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """`summarize` of values over references of the same round.

    Whatever else a machine does in a round hits both, and leaves in their ratio.
    """
    pairs = zip(values, references, strict=True)
    return summarize([value / reference for value, reference in pairs])
