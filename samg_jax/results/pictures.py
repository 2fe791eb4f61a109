"""How the report's pictures look: light and dark, marked if they are not of D4RL."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator

from matplotlib import pyplot as plt

from samg_jax import durable
from samg_jax.results import figures, tidy_table

# Okabe and Ito's, told apart by the color-blind too; gray for what is shared.
# The blue is lighter, for dark ground.
STYLES = {
    "vanilla": ("#2E8BC8", "o"),
    "no_data": ("#E69F00", "s"),
    "samg": ("#D55E00", "D"),
    "samg_even": ("#009E73", "^"),
    "samg_random": ("#CC79A7", "v"),
    "samg_embedding": ("#56B4E9", "P"),
}
MORE_COLORS = ("#8C6BB1", "#A6761D", "#7FBF3F", "#E7298A", "#5E9FB8", "#B3A24A")
MORE_MARKERS = ("X", "*", "<", ">", "p", "h", "d")
OFFLINE_COLOR = "#888888"
WARNING = "#B35900"  # The ground of a mark's white words.
# Inches. So wide that a phone shows letters of 9 points at about their own size.
WIDTH, HEIGHT = 4.8, 3.5
LETTERS = 70  # Of a legend, that fit beside each other.

VECTOR = ("pdf", "svg")  # Formats for print, beside the PNG.

THEMES = {
    "light": {"ink": "#1b1b1b", "paper": "#ffffff", "grid": "#b0b0b0"},
    "dark": {"ink": "#e6e6e6", "paper": "#181a1f", "grid": "#6a6d75"},
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the report, as one file per theme.

    Attributes:
        name: The name of its files.
        title: What the picture shows.
        disclaimer: See `tidy_table.disclaimer`.
        paths: theme -> PNG; empty if the picture could not be drawn.
        vectors: format -> file of the picture on light ground.
    """

    name: str
    title: str
    disclaimer: str
    paths: dict[str, pathlib.Path]
    vectors: dict[str, pathlib.Path]

    @property
    def mark(self) -> str:
        """The disclaimer in a few words."""
        return tidy_table.mark(self.disclaimer)


def write(
    folder: pathlib.Path,
    name: str,
    title: str,
    disclaimer: str,
    draw: Callable[..., None],
    height: float = HEIGHT,
) -> Picture:
    """Draw a picture in both themes, on light ground also for print.

    Args:
        folder: The folder of the files; those on dark ground go into its folder `dark`.
        name: The name; signs that no file name should have become `_`.
        title: The title above the picture.
        disclaimer: Its mark is on the picture, below the title; empty for no mark.
        draw: The function that draws onto an axis.
        height: Inches, without title and mark.
    """
    name = file_name(name)
    paths, vectors = {}, {}
    for theme in THEMES:
        place = folder if theme == "light" else folder / theme
        with durable.writing(folder, advice=durable.AGAIN):
            place.mkdir(parents=True, exist_ok=True)
        path = place / f"{name}.png"
        kinds = VECTOR if theme == "light" else ()
        files = [path, *(place / f"{name}.{kind}" for kind in kinds)]
        mark = tidy_table.mark(disclaimer)
        if figures.drawn(_write, theme, files, title, mark, draw, height):
            paths[theme] = path
            vectors |= dict(zip(kinds, files[1:], strict=True))
        else:
            for file in files:  # None is better than one of before.
                file.unlink(missing_ok=True)
    return Picture(name, title, disclaimer, paths, vectors)


def file_name(name: str) -> str:
    """A name without signs that no file name should have, nor too many letters."""
    return durable.short_name(re.sub(r"[^\w.-]", "_", name))


def _write(theme, files, title, mark, draw, height) -> list[pathlib.Path]:
    with _themed(theme):
        figure = _draw(title, mark, draw, height)
        for file in files:
            figures.write(figure, file)
        plt.close(figure)
    return files


def _draw(title, mark, draw, height):
    """The figure; what stands above the axis may be wider than the axis."""
    mark = figures.wrapped(mark, 80, lines=2)
    title = figures.wrapped(title, 60)
    mark_height = 0.12 * len(mark.splitlines()) + (0.08 if mark else 0)
    title_height = 0.05 + 0.17 * len(title.splitlines())
    top = mark_height + title_height
    figure, axes = figures.subplots(1, width=WIDTH, height=height + top)
    draw(axes[0, 0])
    total = height + top
    figure.get_layout_engine().set(rect=(0, 0, 1, height / total))
    middle = {"x": 0.5, "ha": "center", "va": "top"}
    figure.text(y=1 - 0.05 / total, s=title, fontsize=9.5, **middle)
    if mark:
        look = {"color": "white", "fontsize": 6.5}
        box = {"facecolor": WARNING, "edgecolor": "none", "pad": 1.5}
        place = 1 - (title_height + 0.06) / total
        figure.text(y=place, s=mark, bbox=box, **look, **middle)
    return figure


@contextlib.contextmanager
def _themed(theme: str) -> Iterator[None]:
    shades = THEMES[theme]
    ink, paper = shades["ink"], shades["paper"]
    settings = {
        "font.size": 9,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "legend.fontsize": 8,
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "savefig.facecolor": paper,
        "grid.color": shades["grid"],
    }
    with plt.rc_context(settings):
        yield


def legend(axis) -> None:
    """Put the legend below the axis."""
    handles, labels = axis.get_legend_handles_labels()
    if labels:
        figures.legend_below(axis.get_figure(), handles, labels, LETTERS)


def style(variant: str, variants: list[str]) -> dict[str, str]:
    """Color and marker of a variant among those of the report."""
    if variant in STYLES:
        color, marker = STYLES[variant]
    else:
        place = [name for name in variants if name not in STYLES].index(variant)
        color = MORE_COLORS[place % len(MORE_COLORS)]
        marker = MORE_MARKERS[place % len(MORE_MARKERS)]
    return {"color": color, "marker": marker}
