"""What a run shows of itself: its picture while it goes on, its table at the end."""

from __future__ import annotations

import math
import pathlib
import re
import time

from samg_jax import durable, logs
from samg_jax.results import curves, figures, guidance_curves, seed_statistics
from samg_jax.runs import environments, lifecycle
from samg_jax.runs.live_run import Run
from samg_jax.training import hardware

# Between two drawings of a run under way pass at least these seconds, and so many times
# what the last one took: drawing takes two percent of the time at most.
PAUSE_S, PAUSE_TIMES = 10.0, 50


def report(run: Run) -> None:
    """Prints the closing table; draws the learning curves and the guidance.

    In a sweep, a table and a picture of the guidance for every combination.
    """
    # The run has closed it; what fails here belongs into it, too.
    with logs.to_file(run.workdir / "log.txt"):
        _report(run)


def _report(run: Run) -> None:
    rows = curves.read(run.workdir / "metrics.csv")
    print(f"offline data: {run.data_source}; physics {run.experiment.physics}")
    print(f"devices: {hardware.describe()}")
    for line in environments.describe(run.experiment.trial):
        print(line)
    by_combination = curves.by_combination(rows)
    for label, own in by_combination.items():
        if label:
            print(f"{label}:")
        print(
            seed_statistics.closing_table(own, run.experiment.task.ref_min is not None)
        )
    title = _title(run)
    for label in by_combination:
        picture = figures.drawn(_draw_guidance, run, label, title)
        if picture:
            print(f"guidance over time: {picture}")
    picture = figures.drawn(curves.draw, rows, run.workdir / "curve.png", title)
    if picture:
        print(f"learning curves: {picture}")


def redraw(run: Run) -> None:
    """Draws the learning curves so far, so that a run that is stopped has a picture.

    It does nothing if the last drawing was a moment ago, and after one that failed.
    """
    began = time.monotonic()
    if began < run.next_drawing:
        return
    run.next_drawing = math.inf
    if figures.drawn(_draw_so_far, run):
        now = time.monotonic()
        run.next_drawing = now + max(PAUSE_S, PAUSE_TIMES * (now - began))


def _draw_so_far(run: Run) -> pathlib.Path:
    run.writer.lengths()  # Writes out what is still in memory.
    rows = curves.read(run.workdir / "metrics.csv")
    return curves.draw(rows, run.workdir / "curve.png", _title(run))


def _title(run: Run) -> str:
    variant = lifecycle.variant(run.experiment.record)
    name = f"{run.experiment.settings.algorithm} {variant}"
    return f"{name}, {run.data_source}"


def _draw_guidance(run: Run, label: str, title: str) -> pathlib.Path | None:
    series = guidance_curves.read(run.workdir / "training.csv", label)
    file = "guidance" + re.sub(r"[^\w.]", "_", f" {label}" if label else "")
    title += f", {label}" if label else ""
    path = run.workdir / f"{durable.short_name(file)}.png"
    return guidance_curves.draw(series, path, title)
