"""How well a score separates familiar pairs from unfamiliar ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics

from samg_jax.guidance import quantiles

HELD_OUT = "held-out"
UNIFORM = "uniform actions"
THRESHOLDS = (0.1, 0.3, 0.5, 0.75, 0.9)
BINS = 20


def noise_set(level: float) -> str:
    """The name of the set of held-out pairs with noise of this size."""
    return f"noise {level:g}"


def auroc(familiar: np.ndarray, unfamiliar: np.ndarray) -> np.ndarray:
    """The chance that a familiar pair scores above an unfamiliar one, `[S]`.

    Ties count half. A seed with non-finite scores gets NaN.

    Args:
        familiar: `[S, M]` scores, higher for more familiar pairs.
        unfamiliar: `[S, K]` scores.
    """
    labels = np.repeat([1, 0], [familiar.shape[1], unfamiliar.shape[1]])
    scores = np.concatenate([familiar, unfamiliar], axis=1)
    return np.array(
        [
            metrics.roc_auc_score(labels, row) if np.isfinite(row).all() else np.nan
            for row in scores
        ]
    )


def judge(
    p_int: Mapping[str, np.ndarray],
    levels: tuple[float, ...],
    scores: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """All findings about one weight, `[S]` each.

    Args:
        p_int: Name of a set of pairs -> probabilities `[S, M]` before any cut; one set
            is `HELD_OUT`, and one is `noise_set(level)` for every level.
        levels: The standard deviations of the noise, ascending.
        scores: Scores for the AUROC, if they are finer than `p_int`.
    """
    scores = scores or p_int
    familiar = p_int[HELD_OUT]
    others = [name for name in p_int if name != HELD_OUT]
    curve = [familiar.mean(axis=1)]
    curve += [p_int[noise_set(level)].mean(axis=1) for level in levels]
    edges = np.linspace(0.0, 1.0, BINS + 1)
    return {
        "auroc": {name: auroc(scores[HELD_OUT], scores[name]) for name in others},
        "noise_levels": [0.0, *levels],
        "p_by_noise": np.array(curve),
        "p_falls": np.all(np.diff(curve, axis=0) < 0, axis=0),
        "p_int_quantiles": quantiles.report(familiar),
        "share_zeroed": {
            name: {f"{t:g}": (p < t).mean(axis=1) for t in THRESHOLDS}
            for name, p in p_int.items()
        },
        "histograms": {
            name: np.histogram(p, edges)[0] / p.size for name, p in p_int.items()
        },
    }
