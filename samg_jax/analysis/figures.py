"""How pictures look and are written: PNG files, without a display."""

from __future__ import annotations

import pathlib

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def subplots(columns: int, rows: int = 1, width: float = 4.5, height: float = 3.8):
    """Returns a figure and its axes `[rows, columns]`, that leave room for labels."""
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # Inches around each.
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    return figure, axes


def save(figure, path: pathlib.Path) -> pathlib.Path:
    """Writes the picture, closes it and returns its path."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path
