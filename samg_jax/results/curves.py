"""Learning curves from a run's table of evaluations."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, get_type_hints

import numpy as np
from matplotlib import pyplot as plt

from samg_jax.results import figures, guidance_curves, seed_statistics, table_rows

# Inches of an axis, and of a row of the legend; letters of it per inch.
WIDTH, HEIGHT, ROW, LETTERS = 5.0, 3.6, 0.2, 15
NAMED = 10  # Seeds that the legend names one by one.


class Row(NamedTuple):
    """One row of `metrics.csv`; see `runs.run_output`.

    Attributes:
        sweep: the combination of swept values, empty without one.
    """

    phase: str
    seed: int
    offline_step: int
    env_step: int
    return_mean: float
    return_std: float
    normalized_score: float
    episode_length: float
    failed: int
    sweep: str = ""


def read(path: pathlib.Path) -> list[Row]:
    """Returns the rows of `metrics.csv`.

    Raises:
        checks.UserError: it is missing or damaged.
    """
    kinds = get_type_hints(Row)
    found = []
    for place, row in enumerate(table_rows.read(path, Row._fields[:-1]), 2):
        try:
            found.append(Row(**{name: kinds[name](row[name]) for name in row}))
        except (KeyError, ValueError) as error:
            raise table_rows.damaged(path, f"row {place} has {error}") from error
    return found


def by_combination(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows of every combination of a sweep, all under "" without one."""
    labels = dict.fromkeys(row.sweep for row in rows if row.sweep)
    return {
        label: [row for row in rows if row.sweep == label] for label in labels or [""]
    }


def draw(rows: Sequence[Row], path: pathlib.Path, title: str) -> pathlib.Path:
    """Draws both phases side by side: seeds thin, their mean thick, its 95 % band.

    Args:
        rows: from `read`.
        path: of the PNG.
        title: of the picture.
    """
    phases = [phase for phase in ("offline", "online") if _of(rows, phase)]
    normalized = not any(np.isnan(row.normalized_score) for row in rows)
    width = WIDTH * max(len(phases), 1)
    figure, axes = plt.subplots(
        1,
        max(len(phases), 1),
        figsize=(width, HEIGHT),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, phase in zip(axes[0], phases, strict=False):
        _draw_phase(axis, _of(rows, phase), normalized)
        unit = "gradient updates" if phase == "offline" else "environment steps"
        axis.set_xlabel(f"{phase}: {unit}")
        figures.step_ticks(axis)
    axes[0, 0].set_ylabel("normalized score" if normalized else "return")
    if phases:
        _add_legend(figure, axes[0, len(phases) - 1], width)
    figure.suptitle(figures.wrapped(title, 45 * max(len(phases), 1)))
    return figures.save(figure, path)


def _add_legend(figure, axis, width):
    """Adds the legend below the axes; the figure grows by its rows after the first."""
    handles, labels = axis.get_legend_handles_labels()
    letters = [len(label) + 6 for label in labels]  # 6: the line before it.
    columns = len(labels)
    if sum(letters) > LETTERS * width:  # A row is not enough.
        columns = max(int(LETTERS * width) // max(letters), 1)
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(HEIGHT + ROW * (rows - 1))
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize="small",
        frameon=False,
    )


def _of(rows: Sequence[Row], phase: str) -> list[Row]:
    return [row for row in rows if row.phase == phase]


def _draw_phase(axis, rows: Sequence[Row], normalized: bool) -> None:
    sweeps = list(dict.fromkeys(row.sweep for row in rows))
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(sweeps)))
    for sweep, shade in zip(sweeps, shades, strict=True):
        own = [row for row in rows if row.sweep == sweep]
        _draw_combination(axis, own, normalized, shade if sweep else "black")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)


def _draw_combination(axis, rows: Sequence[Row], normalized: bool, color) -> None:
    """Draws the seeds of a combination; without a sweep each has its own color."""
    seeds = tuple(sorted({row.seed for row in rows}))
    sweep = rows[0].sweep
    colors = dict.fromkeys(seeds, color) if sweep else guidance_curves.colors(seeds)
    named = not sweep and 1 < len(seeds) <= NAMED
    lines = []
    for seed in seeds:
        own = [row for row in rows if row.seed == seed]
        steps = [
            row.offline_step if row.phase == "offline" else row.env_step for row in own
        ]
        values = [
            row.normalized_score if normalized else row.return_mean for row in own
        ]
        lines.append(values)
        axis.plot(
            steps,
            values,
            color=colors[seed],
            alpha=0.3 if sweep else 0.7,
            linewidth=0.8,
            label=f"seed {seed}" if named else None,
        )
    means, widths = np.transpose(
        [seed_statistics.interval(one) for one in np.transpose(lines)]
    )
    axis.plot(
        steps,
        means,
        color=color,
        linewidth=2,
        marker="o" if len(steps) == 1 else None,
        label=(f"{figures.plain(sweep, 60)}, " if sweep else "") + _mean_of(seeds),
    )
    if len(seeds) > 1:
        bounds = means - widths, means + widths
        axis.fill_between(steps, *bounds, color=color, alpha=0.12, linewidth=0)


def _mean_of(seeds: tuple[int, ...]) -> str:
    """What the thick line is, such as `mean of seeds 0-4, 95 % band`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    names = ", ".join(map(str, seeds))
    if seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        names = f"{seeds[0]}-{seeds[-1]}"
    elif len(seeds) > NAMED:
        names = f"{seeds[0]}, ..., {seeds[-1]} ({len(seeds)})"
    return f"mean of seeds {names}, 95 % band"
