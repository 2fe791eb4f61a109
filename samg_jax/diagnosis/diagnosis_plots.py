"""The figures of a diagnosis: histograms of p, p against noise, shares cut to 0."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from samg_jax.diagnosis import diagnosis_tables, discrimination
from samg_jax.results import figures

Report = dict[str, Any]  # The content of `diagnosis.json`.
Shown = dict[str, Report]  # Name of a weight -> findings.

COLORS = ("tab:blue", "tab:red", "tab:orange", "tab:green")


def draw(report: Report, folder: pathlib.Path) -> list[pathlib.Path]:
    """Draws everything; returns the paths of the PNGs.

    Args:
        report: The diagnosis, as in its JSON file.
        folder: The folder of the PNGs.
    """
    shown = configured(report)
    found = [
        figures.drawn(draw_histograms, report, shown, folder / "histograms.png"),
        figures.drawn(draw_noise, report, shown, folder / "noise.png"),
        figures.drawn(draw_shares, report, shown, folder / "zeroed.png"),
    ]
    return [path for path in found if path]


def configured(report: Report) -> Shown:
    """Every weight in its configured kind only, and the baseline."""
    shown, names = {}, set()
    for label, found in report["weights"].items():
        if found["name"] not in names:  # The configured kind comes first.
            shown[label] = found
            names.add(found["name"])
    return shown | {diagnosis_tables.YARDSTICK: report["yardstick"]}


def draw_histograms(report: Report, shown: Shown, path: pathlib.Path) -> pathlib.Path:
    """Draws how p_int is spread over each set of pairs, one panel per weight."""
    sets = [
        discrimination.HELD_OUT,
        discrimination.UNIFORM,
        discrimination.noise_set(0.3),
        report["other"],
    ]
    figure, axes = _panels(len(shown), math.ceil(math.sqrt(len(shown))))
    for axis, (label, found) in zip(axes, shown.items(), strict=True):
        for name, color in zip(sets, COLORS, strict=True):
            shares = 100 * np.array(found["histograms"][name])
            edges = np.linspace(0, 1, len(shares) + 1)
            axis.stairs(
                shares, edges, color=color, label=figures.plain(name, 40), linewidth=1.5
            )
        axis.set_title(figures.plain(label, 60), fontsize=10)
        axis.set_xlabel("p_int, before the cut")
        axis.set_ylabel("share of pairs, % per bin")
    _legend(figure, axes)
    return _save(figure, report, path)


def draw_noise(report: Report, shown: Shown, path: pathlib.Path) -> pathlib.Path:
    """Draws p, and the AUROC, against the size of the noise on the actions."""
    figure, axes = _panels(2, 2)
    for place, (label, found) in enumerate(shown.items()):
        style = {
            "color": f"C{place}",
            "label": figures.plain(label, 60),
            "linestyle": "--" if label == diagnosis_tables.YARDSTICK else "-",
            "marker": ".",
        }
        levels = found["noise_levels"]
        p = np.array(found["p_by_noise"], float).T
        names = [discrimination.noise_set(level) for level in levels[1:]]
        scores = np.array([found["auroc"][name] for name in names], float).T
        for axis, x, lines in ((axes[0], levels, p), (axes[1], levels[1:], scores)):
            axis.plot(x, lines.mean(axis=0), **style)
            low, high = lines.min(axis=0), lines.max(axis=0)
            axis.fill_between(x, low, high, color=style["color"], alpha=0.15)
    for axis in axes:
        axis.set_xlabel("std of the Gaussian noise, of actions in [-1, 1]")
        axis.set_title("mean over the seeds; band: lowest to highest", fontsize=9)
    axes[0].set_ylabel("mean p_int")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylabel("AUROC, held-out against noisy")
    axes[1].axhline(0.5, color="gray", linewidth=0.8, label="chance")
    _legend(figure, axes)
    return _save(figure, report, path)


def draw_shares(report: Report, shown: Shown, path: pathlib.Path) -> pathlib.Path:
    """Draws the share of each set of pairs that each threshold zeroes."""
    sets = [discrimination.HELD_OUT, discrimination.UNIFORM, report["other"]]
    figure, axes = _panels(len(shown), math.ceil(math.sqrt(len(shown))))
    colors = (COLORS[0], COLORS[1], COLORS[3])
    for axis, (label, found) in zip(axes, shown.items(), strict=True):
        for name, color in zip(sets, colors, strict=True):
            zeroed = found["share_zeroed"][name]
            shares = 100 * np.array(list(zeroed.values()), float).mean(axis=1)
            x = [float(threshold) for threshold in zeroed]
            axis.plot(x, shares, color=color, marker=".", label=figures.plain(name, 40))
        axis.set_title(figures.plain(label, 60), fontsize=10)
        axis.set_xlabel("threshold on p_int")
        axis.set_ylim(0, 103)  # Lines at 100 stay visible.
        axis.set_ylabel("share of pairs with p = 0, %")
    _legend(figure, axes)
    return _save(figure, report, path)


def _panels(count: int, columns: int):
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(4.0 * columns, 3.3 * rows),
        squeeze=False,
        layout="constrained",
    )
    axes = list(axes.ravel())
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[:count]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    return figure, axes[:count]


def _legend(figure, axes) -> None:
    # The legend is below the panels, where it hides no line; one serves all panels.
    shown = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    figure.legend(
        shown.values(), shown, loc="outside lower center", ncols=4, frameon=False
    )


def _save(figure, report, path: pathlib.Path) -> pathlib.Path:
    figure.suptitle(figures.plain(report["dataset"]), fontsize=11)
    return figures.save(figure, path)
