"""How a run ends: its closing table and its picture."""

from __future__ import annotations

from samg_jax.analysis import curves, guidance_curves, statistics
from samg_jax.training import experiment
from samg_jax.training.runs import Run


def report(run: Run) -> None:
    """Prints the closing table; draws the learning curves and the guidance."""
    rows = curves.read(run.workdir / "metrics.csv")
    print(f"offline data: {run.data_source}; physics {run.parts.physics}")
    print(statistics.closing_table(rows, run.parts.task.ref_min is not None))
    name = f"{run.config.algorithm} {experiment.variant(run.config)}"
    title = f"{name}, {run.data_source}"
    series = guidance_curves.read(run.workdir / "training.csv")
    guidance = guidance_curves.draw(series, run.workdir / "guidance.png", title)
    if guidance:
        print(f"guidance over time: {guidance}")
    picture = curves.draw(rows, run.workdir / "curve.png", title)
    print(f"learning curves: {picture}")
