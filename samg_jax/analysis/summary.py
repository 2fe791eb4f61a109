"""How a run ends: its closing table and its picture."""

from __future__ import annotations

from samg_jax.analysis import curves, statistics
from samg_jax.training import experiment
from samg_jax.training.runs import Run


def report(run: Run) -> None:
    """Prints the closing table, one per combination, and draws the learning curves."""
    rows = curves.read(run.workdir / "metrics.csv")
    print(f"offline data: {run.data_source}; physics {run.parts.physics}")
    for label, own in curves.by_combination(rows).items():
        if label:
            print(f"{label}:")
        print(statistics.closing_table(own, run.parts.task.ref_min is not None))
    name = f"{run.config.algorithm} {experiment.variant(run.config)}"
    title = f"{name}, {run.data_source}"
    picture = curves.draw(rows, run.workdir / "curve.png", title)
    print(f"learning curves: {picture}")
