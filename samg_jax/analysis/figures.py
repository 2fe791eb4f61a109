"""How pictures look and are written: PNG files, without a display.

A picture is drawn last, when what it shows is safe, and never ends a program: see
`drawn`. Names of files, datasets and sweeps go through `plain` on their way into one.
"""

from __future__ import annotations

import io
import pathlib
import textwrap
from collections.abc import Callable
from typing import TypeVar

import matplotlib

matplotlib.use("Agg")  # Pictures are files here; no display is needed.

from matplotlib import pyplot as plt

from samg_jax import durable
from samg_jax.training import logs

T = TypeVar("T")

LONGEST = 120  # Letters of a name.


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


def save(figure, path: pathlib.Path, dpi: int = 150) -> pathlib.Path:
    """Writes the picture, whole or not at all, closes it and returns its path."""
    data = io.BytesIO()
    figure.savefig(data, dpi=dpi, format="png")
    plt.close(figure)
    durable.write_bytes(path, data.getvalue())
    return path


def drawn(draw: Callable[..., T], *given, **named) -> T | None:
    """What a drawing function returns; None, after a warning, where it fails.

    Whatever the cause, from a glyph to a full disk: a picture can be drawn again, the
    program behind it perhaps took days.

    Args:
        draw: the function.
        *given: its arguments.
        **named: likewise.
    """
    open_before = set(plt.get_fignums())
    try:
        return draw(*given, **named)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        logs.LOGGER.warning(
            "A picture could not be drawn (%s). Everything else is complete.", reason
        )
        logs.trace(error)
        for number in set(plt.get_fignums()) - open_before:
            plt.close(number)
        return None
