"""What the guidance did over time, from a run's table of losses and diagnostics."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib import lines as mlines

from samg_jax.results import figures, run_files


class Series(NamedTuple):
    """One quantity over time.

    Attributes:
        steps: `[T]` environment steps.
        values: `[S, T]` values.
        seeds: `[S]` values of the seeds.
    """

    steps: np.ndarray
    values: np.ndarray
    seeds: tuple[int, ...]


MEDIANS = {"fresh_p_int_q50": "median of p_int", "fresh_weight_q50": "median of p"}
# Label of the axis -> the quantities on it, with their names in its legend.
PANELS = {
    "p_int of the newest transitions, before\nthe cut, and p, after it": MEDIANS,
    "share of transitions with p > 0": {
        "fresh_weight_active": "newest transitions",
        "weight_active": "a batch",
    },
    "mean |guidance term|": {"guidance_term": ""},
    "mean Q of a batch (IQL: V)": {"value_online": "online", "value_offline": "frozen"},
    "mean |frozen - online Q|": {"value_gap": ""},
    "mean |TD error|": {
        "td_error_guided": "where p > 0",
        "td_error_unguided": "where p = 0",
    },
}
LETTERS = 140  # Of the legend, that fit beside each other.
BANDS = "tab:gray"
STYLES = ("-", "--")  # The lines of the quantities of one panel.


def read(path: pathlib.Path, sweep: str = "") -> dict[str, Series]:
    """Name -> series of the online phase in `training.csv`.

    Args:
        path: The table.
        sweep: The combination to read, in the table of a sweep.

    Raises:
        checks.UserError: The table is missing or damaged.
    """
    rows = run_files.logged(path)
    rows = rows[(rows["phase"] == "online") & (rows["sweep"] == sweep)]
    series = {}
    for name, own in rows.groupby("name"):
        table = own.pivot(index="seed", columns="env_step", values="value")
        steps, values = table.columns.to_numpy(), table.to_numpy(float)
        series[name] = Series(steps, values, tuple(table.index.tolist()))
    return series


def draw(
    series: Mapping[str, Series], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draw the diagnostics of the guidance; None if a run has none.

    Each seed is thin, in its own color, and the mean thick and black. The medians of
    p_int, before the cut, are drawn over bands between the means (over the seeds) of
    its other quantiles. The medians of p as it is stored are dashed: a soft cut makes
    them smaller, a hard one makes them 0 or leaves them. The threshold is dotted.
    """
    if "fresh_p_int_q50" not in series:
        return None
    figure, axes = figures.subplots(3, 2, height=3.2)
    for axis, (label, names) in zip(axes.flat, PANELS.items(), strict=True):
        if names is MEDIANS:
            _draw_probabilities(axis, series)
        _draw_lines(axis, series, names)
        axis.set_ylabel(label)
        axis.set_xlabel("environment steps")
        figures.step_ticks(axis)
    for axis in axes.flat[:2]:
        axis.set_ylim(-0.03, 1.03)
    handles = [
        mlines.Line2D([], [], color=color, linewidth=0.8, label=f"seed {seed}")
        for seed, color in figures.seed_colors(series["fresh_p_int_q50"].seeds).items()
    ]
    handles.append(mlines.Line2D([], [], color="black", linewidth=2, label="mean"))
    labels = [handle.get_label() for handle in handles]
    figures.legend_below(figure, handles, labels, LETTERS)
    title = figures.plain(title)
    figure.suptitle(f"{title}: guidance while fine-tuning; values in scaled rewards")
    return figures.save(figure, path)


def _draw_probabilities(axis, series):
    """Draw the bands of p_int, and the threshold: one line, or one per seed."""
    for low, high, alpha in [("05", "95", 0.2), ("25", "75", 0.4)]:
        low_, high_ = (series[f"fresh_p_int_q{level}"] for level in (low, high))
        axis.fill_between(
            low_.steps,
            low_.values.mean(axis=0),
            high_.values.mean(axis=0),
            color=BANDS,
            alpha=alpha,
            linewidth=0,
            label=f"p_int, {int(low)} to {high} %, mean over seeds",
        )
    _, values, seeds = series["threshold"]
    own = dict(zip(figures.seed_colors(seeds).values(), values[:, -1], strict=True))
    own = {color: value for color, value in own.items() if np.isfinite(value)}
    if len(set(own.values())) == 1:
        own = {"black": next(iter(own.values()))}
    if own:
        edges = axis.get_yaxis_transform()  # The lines go from edge to edge.
        look = {"linestyles": ":", "transform": edges, "label": "threshold"}
        axis.hlines(list(own.values()), 0.0, 1.0, colors=list(own), **look)


def _draw_lines(axis, series, names):
    """Draw quantities, each with its label in the legend; an empty one is left out."""
    for style, (name, label) in zip(STYLES, names.items(), strict=False):
        steps, lines, seeds = series[name]
        if np.isnan(lines).all():  # Such as errors at p = 0, if p is never 0.
            continue
        for line, color in zip(lines, figures.seed_colors(seeds).values(), strict=True):
            axis.plot(steps, line, color=color, linestyle=style, linewidth=0.8)
        # Where only some seeds have a value, the line of the mean breaks off.
        axis.plot(
            steps,
            lines.mean(axis=0),
            color="black",
            linestyle=style,
            linewidth=2,
            marker="o" if len(steps) == 1 else None,
            label=label or None,
        )
    if axis.get_legend_handles_labels()[1]:
        figures.legend_above(axis)
