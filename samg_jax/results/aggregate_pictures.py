"""Statistics across datasets as pictures, by rliable's plots where they take an axis.

rliable draws its interval estimates only into a figure of its own; those of ours need a
title, a mark and room for long names, so that `draw_points` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from rliable import plot_utils

from samg_jax.results import figures, pictures, tidy_table
from samg_jax.results.aggregates import Group

ROW = 0.26  # Inches of a row with a name of one line.
FRAME = 1.5  # Inches around the rows.
NAME_LETTERS = 26  # Letters of a row's name in one line.
PROFILE_POINTS = 81
LABELS = {
    "iqm": "IQM of the normalized score, 95 % interval",
    "gap": "optimality gap, 95 % interval; lower is better",
}
SMALL = {"labelsize": "medium", "ticklabelsize": "medium"}  # For rliable's plots.


def height(rows: int, lines: int = 1) -> float:
    """Figure height in inches for `rows` rows of `lines` text lines each."""
    return max(FRAME + (ROW + 0.12 * (lines - 1)) * rows, 2.4)


def draw_points(axis, points: pd.DataFrame, label: str, line: float | None) -> None:
    """Draw a row for each value, with its interval.

    Args:
        axis: The axis to draw on.
        points: The rows: `name`, `variant`, `value`, `low` and `high`.
        label: The label below the figure.
        line: Where a vertical line marks equality, if anywhere.
    """
    variants = tidy_table.in_order(points["variant"])
    for index, row in enumerate(points.itertuples()):
        look = pictures.style(row.variant, variants)
        if np.isfinite(row.low):
            axis.plot([row.low, row.high], [index] * 2, color=look["color"], lw=2)
        axis.plot([row.value], [index], linestyle="", markersize=6, **look)
    if line is not None:
        axis.axvline(line, color=pictures.OFFLINE_COLOR, linewidth=1)
    names = [
        "\n".join(figures.wrapped(part, NAME_LETTERS, 3) for part in name.splitlines())
        for name in points["name"]
    ]
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)  # The first on top.
    figures.few_ticks(axis)
    # The label belongs to the figure because it may be longer than the axis is wide.
    axis.get_figure().supxlabel(label, fontsize=9)


def draw_summary(
    axis, groups: Sequence[Group], found: Sequence[pd.DataFrame], which: str
) -> None:
    """Draw a statistic of every group and variant, in a row each.

    Args:
        axis: The axis to draw on.
        groups: The groups, from `aggregates.groups`.
        found: `aggregates.summary` of each group.
        which: `iqm` or `gap`.
    """
    points = pd.concat(
        table.assign(name=group.label + ": " + table["variant"])
        for group, table in zip(groups, found, strict=True)
    )
    columns = {which: "value", f"{which}_low": "low", f"{which}_high": "high"}
    draw_points(axis, points.rename(columns=columns), LABELS[which], None)


def draw_improvements(
    axis, groups: Sequence[Group], found: Sequence[pd.DataFrame]
) -> None:
    """Draw the probabilities of improvement, in a row each."""
    points = pd.concat(
        table.assign(name=group.label + ": over " + table["over"])
        for group, table in zip(groups, found, strict=True)
    )
    columns = {"probability": "value", "over": "variant"}
    label = "P(samg above the other), 95 % interval"
    draw_points(axis, points.rename(columns=columns), label, 0.5)
    axis.set_xlim(-0.03, 1.03)


def draw_differences(axis, differences: pd.DataFrame) -> None:
    """Draw the difference of each seed small, and the mean with its interval.

    Args:
        axis: The axis to draw on.
        differences: The rows of one algorithm and unit, from `pairing.differences`.
    """
    variants = tidy_table.in_order(differences["over"])
    for index, row in enumerate(differences.itertuples()):
        color = pictures.style(row.over, variants)["color"]
        seeds = np.full(len(row.values), index + 0.25)
        axis.plot(row.values, seeds, ".", color=color, alpha=0.5, markersize=4)
    few = differences["values"].map(len) < tidy_table.FEWEST_SEEDS
    widths = differences["width"].mask(few)
    points = pd.DataFrame(
        {
            "name": differences["dataset"] + "\nsamg - " + differences["over"],
            "variant": differences["over"],
            "value": differences["mean"],
            "low": differences["mean"] - widths,
            "high": differences["mean"] + widths,
        }
    )
    unit = differences["unit"].iloc[0]
    draw_points(axis, points, f"difference of the {unit}; dots: seeds", 0)


def draw_profiles(
    axis,
    thresholds: np.ndarray,
    shares: Mapping[str, np.ndarray],
    bands: Mapping[str, np.ndarray],
) -> None:
    """Draw the share of runs above each score.

    Args:
        axis: The axis to draw on.
        thresholds: `[K]` scores.
        shares: variant -> `[K]`, from `aggregates.profiles`.
        bands: variant -> `[2, K]`, likewise.
    """
    variants = tidy_table.in_order(shares)
    names = {name: figures.plain(name, pictures.LETTERS) for name in variants}
    plot_utils.plot_performance_profiles(
        {names[name]: shares[name] for name in variants},
        thresholds,
        {names[name]: bands[name] for name in variants},
        ax=axis,
        colors={
            names[name]: pictures.style(name, variants)["color"] for name in variants
        },
        xlabel="normalized score",
        ylabel="share of runs above it",
        **SMALL,
    )
    axis.set_ylim(-0.03, 1.03)
    pictures.legend(axis)


def thresholds_of(group: Group) -> np.ndarray:
    """Scores `[K]` that span all scores of a group."""
    scores = np.concatenate([own.ravel() for own in group.scores.values()])
    margin = 0.05 * max(np.ptp(scores), 1.0)
    low, high = scores.min() - margin, scores.max() + margin
    return np.linspace(low, high, PROFILE_POINTS)
