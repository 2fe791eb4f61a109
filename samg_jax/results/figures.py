"""How pictures look and are written: PNG files, without a display.

A picture is drawn last, when what it shows is safe, and never ends a program: see
`drawn`. Names of files, datasets and sweeps go through `plain` on their way into one.
"""

from __future__ import annotations

import io
import math
import pathlib
import textwrap
from collections.abc import Callable, Sequence
from typing import TypeVar

import matplotlib

matplotlib.use("Agg")  # Pictures are files here; no display is needed.

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import ticker

from samg_jax import checks, durable, logs

T = TypeVar("T")

LONGEST = 120  # Letters of a name.


def subplots(
    columns: int,
    rows: int = 1,
    width: float = 4.5,
    height: float = 3.8,
    share: bool = False,
):
    """A figure and its axes `[rows, columns]`, which leave room for labels."""
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows),
        sharey=share,
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # Inches around each.
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    return figure, axes


def plain(name: str, longest: int = LONGEST) -> str:
    """A name as matplotlib draws it letter by letter, in one line.

    Without this a `$` begins mathematics, which may be none, and a leading underscore
    keeps a label out of the legend. What cannot be drawn at all becomes `?`, and the
    middle of a name that is too long is left out.

    Args:
        name: as it is in a file or config.
        longest: letters to keep.
    """
    # Names of files may hold bytes that are no letters.
    name = name.encode("utf-8", "replace").decode()
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    if len(name) > longest:
        end = (longest - 1) // 2
        name = f"{name[: longest - 1 - end]}…{name[-end:]}"
    if name.startswith("_"):
        name = f"\u200a{name}"  # A hair space.
    return name.replace("$", r"\$")


def wrapped(text: str, width: int, lines: int = 4) -> str:
    """Text as matplotlib draws it letter by letter, in lines of at most `width`.

    Args:
        text: with names in it, as they are.
        width: letters.
        lines: that are kept of it.
    """
    found = textwrap.wrap(text, width, break_on_hyphens=False)
    if len(found) > lines:
        found = [*found[: lines - 1], f"{found[lines - 1][: width - 1]}…"]
    return "\n".join(plain(line, width) for line in found)


def few_ticks(axis) -> None:
    """Keep the labels of the horizontal axis apart: at most six ticks."""
    axis.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def step_ticks(axis) -> None:
    """Label an axis of steps as 500, 20k or 1M, at few ticks."""
    few_ticks(axis)
    axis.xaxis.set_major_formatter(ticker.FuncFormatter(_thousands))


def seed_colors(seeds: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Seed -> color, all of them different."""
    if len(seeds) <= 10:
        return dict(zip(seeds, matplotlib.colormaps["tab10"].colors, strict=False))
    shades = matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, len(seeds)))
    return dict(zip(seeds, map(tuple, shades), strict=True))


def legend_below(figure, handles, labels, letters: int, **look) -> int:
    """Put the legend below the axes, where it covers no data; return its rows.

    Args:
        figure: The figure.
        handles: The lines.
        labels: Their labels.
        letters: Letters that fit beside each other.
        **look: The look of the legend.
    """
    sizes = [len(label) + 6 for label in labels]  # 6: the line before it.
    columns = len(labels)
    if sum(sizes) > letters:  # A row is not enough.
        columns = max(letters // max(sizes), 1)
    place = {"loc": "outside lower center", "frameon": False}
    figure.legend(handles, labels, ncols=columns, **place, **look)
    return math.ceil(len(labels) / columns)


def legend_above(axis, columns: int = 2) -> None:
    """Put an axis's legend above it, where it covers no data."""
    axis.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        fontsize="small",
        frameon=False,
        borderaxespad=0.1,
    )


def _thousands(step: float, _: int) -> str:
    """A step as 500, 20k or 1M, with its sign."""
    size, sign = abs(step), "-" if step < 0 else ""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{sign}{size / unit:g}{name}"
    return f"{sign}{size:g}"


def save(figure, path: pathlib.Path, dpi: int = 150) -> pathlib.Path:
    """Write the picture, whole or not at all, close it and return its path."""
    try:
        write(figure, path, dpi)
    finally:
        plt.close(figure)
    return path


def write(figure, path: pathlib.Path, dpi: int = 150) -> None:
    """Write the picture, whole or not at all, in the format that its name ends with.

    A PDF or SVG holds no date, and an SVG keeps its words as words.
    """
    kind = path.suffix.removeprefix(".")
    dated = {"pdf": "CreationDate", "svg": "Date"}
    metadata = {dated[kind]: None} if kind in dated else None
    data = io.BytesIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "samg_jax"}):
        figure.savefig(data, dpi=dpi, format=kind, metadata=metadata)
    durable.write_result(path, data.getvalue())


def drawn(draw: Callable[..., T], *given, **named) -> T | None:
    """The result of a drawing function; None, after a warning, if it fails.

    The cause may be anything from a glyph to a full disk. A picture can be drawn again;
    the program behind it perhaps took days.

    Args:
        draw: The function.
        *given: Its arguments.
        **named: Its arguments by name.
    """
    open_before = set(plt.get_fignums())
    try:
        return draw(*given, **named)
    except Exception as error:
        if isinstance(error, checks.UserError):
            logs.LOGGER.warning(
                "A picture could not be drawn. %s Everything else is complete.", error
            )
        else:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            logs.LOGGER.warning(
                "A picture could not be drawn (%s). Everything else is complete. The "
                "traceback is in %s.",
                *(reason, logs.trace(error) or logs.keep(error)),
            )
        for number in set(plt.get_fignums()) - open_before:
            plt.close(number)
        return None
