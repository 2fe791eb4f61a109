"""Statistics across datasets as pictures: points and intervals, profiles, seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from samg_jax.results import figures, pictures, suite_table
from samg_jax.results.aggregates import Group

ROW = 0.26  # Inches that a row with a name of one line takes.
FRAME = 1.5  # Inches around the rows.
NAME_LETTERS = 26  # Letters of a row's name in one line.
PROFILE_POINTS = 81
LABELS = {
    "iqm": "IQM of the normalized score, 95 % interval",
    "gap": "optimality gap, 95 % interval; lower is better",
}


def height(rows: int, lines: int = 1) -> float:
    """Figure height in inches for `rows` rows of `lines` text lines each."""
    return max(FRAME + (ROW + 0.12 * (lines - 1)) * rows, 2.4)


def draw_summary(
    axis, groups: Sequence[Group], found: Sequence[pd.DataFrame], which: str
) -> None:
    """Draws a statistic of every group and variant, a line for each.

    Args:
        axis: to draw on.
        groups: from `aggregates.groups`.
        found: `aggregates.summary` of each.
        which: `iqm` or `gap`.
    """
    variants = suite_table.in_order(name for group in groups for name in group.scores)
    lines = [
        (group.label, row)
        for group, table in zip(groups, found, strict=True)
        for row in table.to_dict("records")
    ]
    for place, (_, row) in enumerate(lines):
        low, high = row[f"{which}_low"], row[f"{which}_high"]
        _draw_point(axis, place, row[which], low, high, row["variant"], variants)
    names = [f"{label}: {row['variant']}" for label, row in lines]
    _finish_rows(axis, names, LABELS[which])


def draw_improvements(
    axis, groups: Sequence[Group], found: Sequence[pd.DataFrame]
) -> None:
    """Draws the probabilities of improvement, a line for each.

    Args:
        axis: to draw on.
        groups: from `aggregates.groups`.
        found: `aggregates.improvements` of each.
    """
    variants = suite_table.in_order(name for group in groups for name in group.scores)
    lines = [
        (group.label, row)
        for group, table in zip(groups, found, strict=True)
        for row in table.itertuples()
    ]
    for place, (_, row) in enumerate(lines):
        _draw_point(axis, place, row.probability, row.low, row.high, row.over, variants)
    axis.axvline(0.5, color=pictures.OFFLINE_COLOR, linewidth=1)
    axis.set_xlim(-0.03, 1.03)
    names = [f"{label}: over {row.over}" for label, row in lines]
    _finish_rows(axis, names, "P(samg above the other), 95 % interval")


def draw_differences(axis, differences: pd.DataFrame) -> None:
    """Draws every seed's difference small, and the mean with its interval.

    Args:
        axis: to draw on.
        differences: from `aggregates.differences`, of one algorithm and unit.
    """
    variants = suite_table.in_order(differences["over"])
    for place, row in enumerate(differences.itertuples()):
        color = pictures.style(row.over, variants)["color"]
        seeds = np.full(len(row.values), place + 0.25)
        axis.plot(row.values, seeds, ".", color=color, alpha=0.5, markersize=4)
        width = row.width if len(row.values) >= suite_table.FEWEST_SEEDS else np.nan
        ends = row.mean - width, row.mean + width
        _draw_point(axis, place, row.mean, *ends, row.over, variants)
    axis.axvline(0, color=pictures.OFFLINE_COLOR, linewidth=1)
    names = [f"{row.dataset}\nsamg - {row.over}" for row in differences.itertuples()]
    unit = differences["unit"].iloc[0]
    _finish_rows(axis, names, f"difference of the {unit}; dots: seeds")


def draw_profiles(axis, thresholds: np.ndarray, found: dict[str, tuple]) -> None:
    """Draws the share of runs above each score.

    Args:
        axis: to draw on.
        thresholds: `[K]`.
        found: from `aggregates.profiles`.
    """
    variants = suite_table.in_order(found)
    for variant in variants:
        share, low, high = found[variant]
        color = pictures.style(variant, variants)["color"]
        label = figures.plain(variant, pictures.LETTERS)
        axis.plot(thresholds, share, color=color, label=label, linewidth=1.8)
        axis.fill_between(thresholds, low, high, color=color, alpha=0.18, linewidth=0)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("normalized score")
    axis.set_ylabel("share of runs above it")
    pictures.legend(axis)


def thresholds_of(group: Group) -> np.ndarray:
    """Returns `[K]` scores that span all of the group's."""
    scores = np.concatenate([own.ravel() for own in group.scores.values()])
    margin = 0.05 * max(np.ptp(scores), 1.0)
    low, high = scores.min() - margin, scores.max() + margin
    return np.linspace(low, high, PROFILE_POINTS)


def _draw_point(axis, place, value, low, high, variant, variants):
    look = pictures.style(variant, variants)
    if np.isfinite(low):
        axis.plot([low, high], [place, place], color=look["color"], linewidth=2)
    axis.plot([value], [place], linestyle="", markersize=6, **look)


def _short(line):
    return figures.wrapped(line, NAME_LETTERS, lines=3)


def _finish_rows(axis, names, label):
    lines = ["\n".join(_short(line) for line in name.splitlines()) for name in names]
    axis.set_yticks(range(len(names)), lines, fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)  # The first on top.
    figures.few_ticks(axis)
    # The label belongs to the figure because it may be longer than the axis is wide.
    axis.get_figure().supxlabel(label, fontsize=9)
