"""Outcomes as tables: per dataset, across datasets, by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from samg_jax.results import (
    aggregates,
    report_tables,
    seed_outcomes,
    seed_statistics,
    tidy_table,
)
from samg_jax.results.aggregates import Group
from samg_jax.results.report_tables import NONE, Table

MEAN = (
    "mean ± half-width of its 95 % interval (Student's t) over seeds. Fewer than "
    f"{tidy_table.FEWEST_SEEDS} seeds give no interval; their values are in "
    "parentheses instead"
)
DIP = (
    "Dip: the mean score of the first fifth of fine-tuning, after the warm-up, minus "
    "the score at the switch; the minimum is no measure, as noise biases it. Recovery: "
    "steps from the switch until a seed whose score fell reaches its first score "
    "again, after that fifth; the median over the seeds that do, and how many do."
)
POOLED = (
    "95 % intervals of a bootstrap that is stratified by task, with {} resamples "
    "(rliable)"
)


def of_dataset(frame: pd.DataFrame, outcomes: pd.DataFrame, dataset: str) -> Table:
    """Table of every algorithm and variant on a dataset."""
    own = outcomes[outcomes["dataset"] == dataset]
    frame = frame[frame["dataset"] == dataset]
    rows = []
    for algorithm, runs in own.groupby("algorithm"):
        for variant in tidy_table.in_order(runs["variant"]):
            rows.append(_line(algorithm, variant, runs[runs["variant"] == variant]))
    offline = set(tidy_table.pretrained(frame)["algorithm"])
    for algorithm in sorted(offline - set(own["algorithm"])):
        last = tidy_table.offline_scores(frame, dataset, algorithm)
        known = {"seeds": str(len(last)), "offline": interval(last)}
        rows.append(_row(algorithm, "offline only", **known))
    note = (
        f"Scores are the {frame['unit'].iloc[0]}: {MEAN}. Steps: environment steps of "
        f"fine-tuning. Offline: the score before the first of them. {DIP} Area: mean "
        "height of the learning curve after the switch. Regret: share of training "
        f"episodes that fail. {seed_outcomes.left_out(own)}"
    )
    name, title = f"scores_{dataset}", f"{dataset}: fine-tuning"
    disclaimer = tidy_table.disclaimer(frame)
    return report_tables.of_rows(name, title, rows, note.strip(), disclaimer)


def _row(algorithm: str, variant: str, **cells: str) -> dict[str, str]:
    names = ("seeds", "steps", "offline", "final", "change", "dip", "recovery, steps")
    empty = dict.fromkeys((*names, "area", "regret"), NONE)
    return {"algorithm": algorithm, "variant": variant} | empty | cells


def _line(algorithm: str, variant: str, runs: pd.DataFrame) -> dict[str, str]:
    kept = seed_outcomes.finished(runs)
    cells = {
        "seeds": str(len(kept)) + (f" of {len(runs)}" if len(kept) < len(runs) else ""),
        "steps": f"{runs['steps'].max():,.0f}",
        "offline": interval(kept["start"]),
        "final": interval(kept["final"]),
        "change": interval(kept["final"] - kept["start"]),
        "dip": interval(kept["dip"]),
        "recovery, steps": recovery(kept["recovery"]),
        "area": interval(kept["area"]),
        "regret": interval(kept["regret"], 3),
    }
    return _row(algorithm, variant, **cells)


def interval(values: Sequence[float], digits: int = 1) -> str:
    """Mean and half-width in words, or a dash if there are no numbers.

    Fewer seeds than `tidy_table.FEWEST_SEEDS` are listed instead, and equal values
    have no interval.
    """
    values = np.asarray(values, float)
    if not len(values) or np.isnan(values).any():
        return NONE
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    if len(values) < tidy_table.FEWEST_SEEDS:
        return f"{mean} ({', '.join(f'{value:.{digits}f}' for value in values)})"
    if np.ptp(values) == 0:
        return f"{mean} (all {len(values)})"
    return seed_statistics.interval_text(values, digits)


def signed(values: Sequence[float]) -> str:
    """`interval`, with the sign of the mean."""
    text = interval(values)
    return text if text == NONE or text.startswith("-") else f"+{text}"


def recovery(steps: pd.Series) -> str:
    """Median of the finite values, and their number."""
    steps = steps.dropna()
    if not len(steps):
        return NONE
    back = steps[np.isfinite(steps)]
    count = f"({len(back)} of {len(steps)})"
    return f"{np.median(back):,.0f} {count}" if len(back) else f"never {count}"


def between(value: float, low: float, high: float, digits: int = 1) -> str:
    """A value and its interval in words; the value alone if the interval is NaN."""
    text = f"{value:.{digits}f}"
    return text if np.isnan(low) else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def of_groups(
    groups: Sequence[Group], found: Sequence[pd.DataFrame], reps: int, disclaimer: str
) -> Table:
    """Table of the IQM and optimality gap of every group and variant."""
    rows = [
        {
            **_about(group, "variant", row.variant),
            "IQM": between(row.iqm, row.iqm_low, row.iqm_high),
            "optimality gap": between(row.gap, row.gap_low, row.gap_high),
        }
        for group, table in zip(groups, found, strict=True)
        for row in table.itertuples()
    ]
    source = groups[0].source
    return report_tables.of_rows(
        f"aggregate_{source.replace(' ', '_')}",
        f"IQM and optimality gap: {source}",
        rows,
        "Final normalized scores. IQM: mean of the middle half of all runs; higher is "
        f"better. Optimality gap: mean shortfall from {aggregates.BEST:.0f}; lower is "
        f"better. Brackets contain {POOLED.format(f'{reps:,}')}. A task is an "
        "algorithm on a dataset. The table counts the tasks and seeds that every "
        "variant in it has finished.",
        disclaimer,
    )


def _about(group: Group, heading: str, name: str) -> dict[str, str]:
    counts = {"tasks": str(len(group.tasks)), "seeds": str(len(group.seeds))}
    return {"algorithm": group.label, heading: name, **counts}


def of_improvements(
    groups: Sequence[Group], found: Sequence[pd.DataFrame], reps: int, disclaimer: str
) -> Table:
    """Table of the probability that SAMG ends above each other variant.

    Takes the arguments of `of_groups`, with `aggregates.improvements` of each group.
    """
    rows = [
        {
            **_about(group, "comparison", f"samg over {row.over}"),
            "probability": between(row.probability, row.low, row.high, 2),
            "tasks above": f"{row.above} of {len(group.tasks)}",
        }
        for group, table in zip(groups, found, strict=True)
        for row in table.itertuples()
    ]
    source = groups[0].source
    return report_tables.of_rows(
        f"improvement_{source.replace(' ', '_')}",
        f"Probability of improvement: {source}",
        rows,
        "Probability that a run of SAMG ends above a run of the other variant on the "
        "same task; the mean over tasks. A tie counts half, and 0.5 means no "
        f"difference. Brackets contain {POOLED.format(f'{reps:,}')}. They cover other "
        "seeds of these tasks, not other tasks. There is no interval if every resample "
        "gives the same number. Tasks above: tasks with a probability above 0.5.",
        disclaimer,
    )


def of_differences(
    source: str, final: pd.DataFrame, area: pd.DataFrame, disclaimer: str
) -> Table:
    """Table of the paired differences by seed.

    Args:
        source: The source of the data.
        final: `pairing.differences` of the final scores.
        area: `pairing.differences` of the areas.
        disclaimer: The disclaimer of the rows.
    """
    keys = ["dataset", "algorithm", "over"]
    areas = area.set_index(keys)["values"]
    rows = [
        {
            "dataset": row.dataset,
            "algorithm": row.algorithm,
            "difference": f"samg - {row.over}",
            "final": signed(row.values),
            "samg above": f"{row.wins} of {len(row.values)}",
            "area": signed(areas.get((row.dataset, row.algorithm, row.over), [])),
        }
        for row in final.itertuples()
    ]
    return report_tables.of_rows(
        f"differences_{source.replace(' ', '_')}",
        f"Paired by seed: {source}",
        rows,
        "Each difference is between runs of the same seed and pre-training, in "
        "normalized score, or in return if a dataset has no reference scores: "
        f"{MEAN}. An interval that includes 0 establishes no difference. About one "
        "interval in twenty excludes 0 by chance. SAMG above: seeds in which SAMG ends "
        "higher. Area: difference of the mean heights of the learning curves. Variants "
        "with different budgets are not compared.",
        disclaimer,
    )
