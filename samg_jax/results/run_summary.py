"""What a run shows of itself: its picture while it goes on, its table at the end."""

from __future__ import annotations

import math
import pathlib
import re
import time

import pandas as pd

from samg_jax import durable, logs
from samg_jax.results import (
    figures,
    guidance_curves,
    learning_curves,
    run_files,
    seed_outcomes,
    seed_statistics,
    tidy_table,
)
from samg_jax.runs import environments, lifecycle
from samg_jax.runs.live_run import Run
from samg_jax.training import hardware

# Between two drawings of a run pass at least this many seconds, and this many times
# the duration of the last drawing: drawing takes two percent of the time at most.
PAUSE_S, PAUSE_TIMES = 10.0, 50


def report(run: Run) -> None:
    """Print the closing table; draw the learning curves and the guidance.

    A sweep has a table and a picture of the guidance for each combination.
    """
    # The run has closed its log; what fails here belongs into it, too.
    with logs.to_file(run.workdir / "log.txt"):
        _report(run)


def _report(run: Run) -> None:
    rows = run_files.evaluations(run.workdir / "metrics.csv")
    print(f"offline data: {run.data_source}; physics {run.experiment.physics}")
    print(f"devices: {hardware.describe()}")
    for line in environments.describe(run.experiment.trial):
        print(line)
    if rows.empty:
        return  # Neither phase had a step, so nothing was evaluated.
    print(closing_tables(rows))
    title = _title(run)
    for label in combinations(rows):
        picture = figures.drawn(_draw_guidance, run, label, title)
        if picture:
            print(f"guidance over time: {picture}")
    picture = figures.drawn(_draw_curves, run, rows)
    if picture:
        print(f"learning curves: {picture}")


def redraw(run: Run) -> None:
    """Draw the learning curves so far, so that a run that is stopped has a picture.

    The function does nothing if the last drawing was a moment ago, or has failed.
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
    return _draw_curves(run, run_files.evaluations(run.workdir / "metrics.csv"))


def _draw_curves(run: Run, rows: pd.DataFrame) -> pathlib.Path:
    frame = _tidy(rows)
    return learning_curves.draw_run(frame, run.workdir / "curve.png", _title(run))


def _tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one run, whose variants are the combinations of its sweep."""
    about = {"algorithm": "", "dataset": "", "data_source": "", "variant": ""}
    return tidy_table.check(tidy_table.of_evaluations(rows, **about), "metrics.csv")


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


def combinations(rows: pd.DataFrame) -> list[str]:
    """The labels of a sweep's combinations; one empty label without a sweep."""
    return list(dict.fromkeys(rows.loc[rows["sweep"] != "", "sweep"])) or [""]


def closing_tables(rows: pd.DataFrame) -> str:
    """The closing table of a run, or one for each combination of a sweep.

    Args:
        rows: The rows of `metrics.csv`, from `run_files.evaluations`.
    """
    return "\n".join(
        (f"{label}:\n" if label else "") + _closing_table(rows[rows["sweep"] == label])
        for label in combinations(rows)
    )


def _closing_table(rows: pd.DataFrame) -> str:
    """The offline and the final score of each seed, and their means.

    The offline score is that of the policy with which fine-tuning begins. A run without
    fine-tuning has no other score.
    """
    frame = _tidy(rows)
    unit, columns = frame["unit"].iloc[0], ["offline", "final", "change"]
    if not (frame["phase"] == tidy_table.ONLINE).any():
        last = frame.groupby(tidy_table.RUN).tail(1)
        frame, columns = last.assign(phase=tidy_table.ONLINE), columns[:1]
    found = seed_outcomes.of(frame)
    found["change"] = found["final"] - found["start"]
    scores = found.rename(columns={"start": "offline"})[columns].to_numpy()
    forms = ["+.1f" if name == "change" else ".1f" for name in columns]
    lasting = (found["status"] != seed_outcomes.FAILED).to_numpy()
    given = found["seed"], scores, lasting, forms, (18, 11)
    titles = "".join(f"{column:>11}" for column in columns)
    return "\n".join([f"{unit:<18}{titles}", *seed_statistics.seed_lines(*given)])
