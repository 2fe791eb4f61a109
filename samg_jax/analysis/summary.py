"""How a run ends: its closing table and its picture."""

from __future__ import annotations

import pathlib
import re

from samg_jax import durable
from samg_jax.analysis import curves, figures, guidance_curves, statistics
from samg_jax.training import environments, experiment, logs
from samg_jax.training.runs import Run


def report(run: Run) -> None:
    """Prints the closing table; draws the learning curves and the guidance.

    In a sweep, a table and a picture of the guidance for every combination.
    """
    # The run has closed it; what fails here belongs into it, too.
    with logs.to_file(run.workdir / "log.txt"):
        _report(run)


def _report(run: Run) -> None:
    rows = curves.read(run.workdir / "metrics.csv")
    print(f"offline data: {run.data_source}; physics {run.parts.physics}")
    for line in environments.describe(run.parts.trial):
        print(line)
    by_combination = curves.by_combination(rows)
    for label, own in by_combination.items():
        if label:
            print(f"{label}:")
        print(statistics.closing_table(own, run.parts.task.ref_min is not None))
    name = f"{run.config.algorithm} {experiment.variant(run.config)}"
    title = f"{name}, {run.data_source}"
    for label in by_combination:
        picture = figures.drawn(_draw_guidance, run, label, title)
        if picture:
            print(f"guidance over time: {picture}")
    picture = figures.drawn(curves.draw, rows, run.workdir / "curve.png", title)
    if picture:
        print(f"learning curves: {picture}")


def _draw_guidance(run: Run, label: str, title: str) -> pathlib.Path | None:
    series = guidance_curves.read(run.workdir / "training.csv", label)
    file = "guidance" + re.sub(r"[^\w.]", "_", f" {label}" if label else "")
    title += f", {label}" if label else ""
    path = run.workdir / f"{durable.short_name(file)}.png"
    return guidance_curves.draw(series, path, title)
