"""Coverage as a figure and as a CSV file."""

from __future__ import annotations

import csv
import io
import pathlib

import matplotlib
import numpy as np

from samg_jax import durable
from samg_jax.paper import data_coverage
from samg_jax.results import figures

LEGEND = 40  # The number of letters of a level's name.


def write(
    names: list[str], coverage: data_coverage.Coverage, path: pathlib.Path
) -> pathlib.Path:
    """Writes a CSV with one row per level, space and repeat; returns its path.

    Every row has the bound of its measurement, and the warning if that was too low.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["level", "space", "repeat", "coverage", "bound", "warning"])
    for space, shares in coverage.shares.items():
        for repeat, own in enumerate(shares):
            for name, share in zip(names, own, strict=True):
                found = name, space, repeat, float(share)
                writer.writerow([*found, coverage.bound, coverage.warning])
    durable.write_result(path, text.getvalue())
    return path


def draw(
    names: list[str], coverage: data_coverage.Coverage, path: pathlib.Path
) -> pathlib.Path:
    """Draws both embeddings of the first repeat, and the shares; returns the path."""
    figure, ((*embeddings, bars),) = figures.subplots(3, height=4.2)
    colors = matplotlib.colormaps["tab10"].colors
    for axis, (space, example) in zip(
        embeddings, coverage.examples.items(), strict=True
    ):
        _draw_embedding(axis, example, colors)
        axis.set_title(f"{space}, ✕ cluster centers")
    _draw_bars(bars, names, coverage, colors)
    figure.suptitle(
        f"{coverage.rows:,} of {coverage.pooled:,} rows; embeddings of the first of "
        f"{len(coverage.shares['states'])}; covered: more than {coverage.bound:.3g} "
        "samples of the level"
        + "\nWARNING: so few that chance decides"
        * bool(coverage.warning)
    )
    return figures.save(figure, path)


def _draw_embedding(axis, example, colors):
    # The order is random, so that the last level does not hide the others.
    order = np.random.default_rng(0).permutation(len(example.points))
    axis.scatter(
        *example.points[order].T,
        c=[colors[level % len(colors)] for level in example.levels[order]],
        s=4,
        alpha=0.6,
        linewidths=0,
    )
    centers = [
        example.points[example.clusters == number].mean(axis=0)
        for number in np.unique(example.clusters)
    ]
    axis.scatter(*np.transpose(centers), marker="x", color="black", s=30)
    axis.set_xlabel("first dimension of t-SNE")
    axis.set_ylabel("second dimension of t-SNE")


def _draw_bars(axis, names, coverage, colors):
    places, width = np.arange(len(coverage.shares)), 0.8 / len(names)
    for index, name in enumerate(names):
        own = [shares[:, index] for shares in coverage.shares.values()]
        axis.bar(
            places + (index - (len(names) - 1) / 2) * width,
            [shares.mean() for shares in own],
            width,
            yerr=[shares.std() for shares in own],
            capsize=3,
            color=colors[index % len(colors)],
            label=figures.plain(name, LEGEND),
        )
    axis.set_xticks(places, coverage.shares.keys())
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("share of cluster centers")
    axis.set_title("covered, mean and std of the repeats")
    figure = axis.get_figure()
    figure.legend(loc="outside lower center", ncols=min(len(names), 5), frameon=False)
