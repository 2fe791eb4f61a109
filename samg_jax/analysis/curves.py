"""Learning curves from a run's table of evaluations."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple, get_type_hints

import numpy as np
from matplotlib import pyplot as plt

from samg_jax.analysis import figures
from samg_jax.analysis import rows as rows_lib


class Row(NamedTuple):
    """One row of `metrics.csv`; see `training.metrics`.

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
    for place, row in enumerate(rows_lib.read(path, Row._fields[:-1]), 2):
        try:
            found.append(Row(**{name: kinds[name](row[name]) for name in row}))
        except (KeyError, ValueError) as error:
            raise rows_lib.damaged(path, f"row {place} has {error}") from error
    return found


def by_combination(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the rows of every combination of a sweep, all under "" without one."""
    labels = dict.fromkeys(row.sweep for row in rows if row.sweep)
    return {
        label: [row for row in rows if row.sweep == label] for label in labels or [""]
    }


def draw(rows: Sequence[Row], path: pathlib.Path, title: str) -> pathlib.Path:
    """Draws both phases side by side, each seed thin and the mean thick.

    Args:
        rows: from `read`.
        path: of the PNG.
        title: of the picture.
    """
    phases = [phase for phase in ("offline", "online") if _of(rows, phase)]
    normalized = not any(np.isnan(row.normalized_score) for row in rows)
    figure, axes = plt.subplots(
        1,
        max(len(phases), 1),
        figsize=(5.0 * max(len(phases), 1), 3.6),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, phase in zip(axes[0], phases, strict=False):
        _draw_phase(axis, _of(rows, phase), normalized)
        unit = "gradient updates" if phase == "offline" else "environment steps"
        axis.set_xlabel(f"{phase}: {unit}")
    axes[0, 0].set_ylabel("normalized score" if normalized else "return")
    if phases:
        axes[0, len(phases) - 1].legend(
            fontsize="small", framealpha=0.8, edgecolor="none"
        )
    figure.suptitle(figures.wrapped(title, 45 * max(len(phases), 1)))
    return figures.save(figure, path)


def _of(rows: Sequence[Row], phase: str) -> list[Row]:
    return [row for row in rows if row.phase == phase]


def _draw_phase(axis, rows: Sequence[Row], normalized: bool) -> None:
    sweeps = list(dict.fromkeys(row.sweep for row in rows))
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(sweeps)))
    for sweep, shade in zip(sweeps, shades, strict=True):
        own = [row for row in rows if row.sweep == sweep]
        color = shade if sweep else "tab:blue"
        _draw_combination(axis, own, normalized, color)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)


def _draw_combination(axis, rows: Sequence[Row], normalized: bool, color) -> None:
    seeds = sorted({row.seed for row in rows})
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
        axis.plot(steps, values, color=color, alpha=0.3, linewidth=0.8)
    sweep = rows[0].sweep
    axis.plot(
        steps,
        np.mean(lines, axis=0),
        color=color,
        linewidth=2,
        marker="o" if len(steps) == 1 else None,
        label=(f"{figures.plain(sweep, 60)}, " if sweep else "")
        + f"mean of {len(seeds)}",
    )
