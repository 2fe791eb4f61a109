"""The summary of repeated measurements: the median and its spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def summarize(values: Sequence[float]) -> dict[str, float]:
    """The median of repeats, and half of their interquartile range.

    Args:
        values: The values, at least one, one per repeat.
    """
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": float(middle), "spread": float(high - low) / 2}


def ratios(values: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """`summarize` of values divided by references of the same round.

    Other load on the machine in a round affects both, and cancels in their ratio.
    """
    pairs = zip(values, references, strict=True)
    return summarize([value / reference for value, reference in pairs])
