"""What the guidance did over time, from a run's table of losses and diagnostics."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import lines as mlines

from samg_jax.results import figures, table_rows


class Series(NamedTuple):
    """One quantity over time.

    Attributes:
        steps: `[T]` environment steps.
        values: `[S, T]`.
        seeds: `[S]` values of the seeds.
    """

    steps: np.ndarray
    values: np.ndarray
    seeds: tuple[int, ...]


COLUMNS = ("phase", "seed", "env_step", "name", "value")
ACTIVE = {
    "fresh_weight_active": "newest transitions",
    "weight_active": "a batch",
}
MEDIANS = {"fresh_p_int_q50": "median of p_int", "fresh_weight_q50": "median of p"}
VALUES = {"value_online": "online", "value_offline": "frozen"}
ERRORS = {"td_error_guided": "where p > 0", "td_error_unguided": "where p = 0"}
BANDS = "tab:gray"
STYLES = ("-", "--")  # Of the quantities of one panel.


def read(path: pathlib.Path, sweep: str = "") -> dict[str, Series]:
    """Returns name -> series of what `training.csv` has of the online phase.

    Args:
        path: of the table.
        sweep: the combination to read, in the table of a sweep.

    Raises:
        checks.UserError: the table is missing or damaged.
    """
    found = defaultdict(lambda: defaultdict(dict))
    for row in table_rows.read(path, COLUMNS):
        if row["phase"] == "online" and row.get("sweep", "") == sweep:
            try:
                place = found[row["name"]][int(row["seed"])]
                place[int(row["env_step"])] = float(row["value"])
            except ValueError as error:
                raise table_rows.damaged(path, str(error)) from error
    series = {}
    for name, seeds in found.items():
        steps = sorted(set.union(*(set(values) for values in seeds.values())))
        lines = [
            [values.get(step, np.nan) for step in steps] for values in seeds.values()
        ]
        series[name] = Series(np.array(steps), np.array(lines), tuple(seeds))
    return series


def draw(
    series: Mapping[str, Series], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the diagnostics of the guidance; None where a run has none of them.

    Each seed is thin, in its own color, and the mean thick and black. Of p_int, before
    the cut, the seeds' medians are drawn, over bands between the means over the seeds
    of their other quantiles; dashed those of p as it is stored, which a soft cut makes
    smaller and a hard one makes 0 or leaves; dotted is the threshold of the cut.

    Args:
        series: from `read`.
        path: of the PNG.
        title: of the picture.
    """
    if "fresh_p_int_q50" not in series:
        return None
    figure, axes = figures.subplots(3, 2, height=3.2)
    (weights, active, term), (values, gap, errors) = axes
    _draw_probabilities(weights, series)
    _draw_lines(active, series, ACTIVE)
    active.set_ylabel("share of transitions with p > 0")
    active.set_ylim(-0.03, 1.03)
    _draw_lines(term, series, {"guidance_term": ""})
    term.set_ylabel("mean |guidance term|")
    _draw_lines(values, series, VALUES)
    values.set_ylabel("mean Q of a batch (IQL: V)")
    _draw_lines(gap, series, {"value_gap": ""})
    gap.set_ylabel("mean |frozen - online Q|")
    _draw_lines(errors, series, ERRORS)
    errors.set_ylabel("mean |TD error|")
    for axis in axes.flat:
        axis.set_xlabel("environment steps")
        figures.step_ticks(axis)
    handles = [
        mlines.Line2D([], [], color=color, linewidth=0.8, label=f"seed {seed}")
        for seed, color in colors(series["fresh_p_int_q50"].seeds).items()
    ]
    handles.append(mlines.Line2D([], [], color="black", linewidth=2, label="mean"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 11),
        frameon=False,
    )
    title = figures.plain(title)
    figure.suptitle(f"{title}: guidance while fine-tuning; values in scaled rewards")
    return figures.save(figure, path)


def colors(seeds: tuple[int, ...]) -> dict[int, tuple[float, ...]]:
    """Returns seed -> color, all of them different."""
    if len(seeds) <= 10:
        return dict(zip(seeds, matplotlib.colormaps["tab10"].colors, strict=False))
    shades = matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, len(seeds)))
    return dict(zip(seeds, map(tuple, shades), strict=True))


def _draw_probabilities(axis, series):
    steps = series["fresh_p_int_q50"].steps

    def mean(level):
        return series[f"fresh_p_int_q{level}"].values.mean(axis=0)

    for low, high, alpha in [("05", "95", 0.2), ("25", "75", 0.4)]:
        axis.fill_between(
            steps,
            mean(low),
            mean(high),
            color=BANDS,
            alpha=alpha,
            linewidth=0,
            label=f"p_int, {int(low)} to {high} %, mean over seeds",
        )
    _draw_threshold(axis, series)
    _draw_lines(axis, series, MEDIANS)
    axis.set_ylabel("p_int of the newest transitions, before\nthe cut, and p, after it")
    axis.set_ylim(-0.03, 1.03)


def _draw_threshold(axis, series):
    """Draws where the weight is cut: one line, or one per seed if they differ."""
    _, values, seeds = series["threshold"]
    own = dict(zip(colors(seeds).values(), values[:, -1], strict=True))
    own = {color: value for color, value in own.items() if np.isfinite(value)}
    if len(set(own.values())) == 1:
        own = {"black": next(iter(own.values()))}
    if own:
        axis.hlines(
            list(own.values()),
            0.0,
            1.0,
            colors=list(own),
            linestyles=":",
            transform=axis.get_yaxis_transform(),  # From edge to edge.
            label="threshold",
        )


def _draw_lines(axis, series, names):
    """Draws quantities, each with its label in the legend; none for an empty one."""
    for style, (name, label) in zip(STYLES, names.items(), strict=False):
        steps, lines, seeds = series[name]
        if np.isnan(lines).all():  # Such as errors where p = 0, if p never is.
            continue
        for line, color in zip(lines, colors(seeds).values(), strict=True):
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
