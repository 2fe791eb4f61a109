"""Statistics across datasets, by rliable (Agarwal et al., 2021).

Datasets of different sources are never pooled. Runs of a group are `[N, T]`: N seeds
on T tasks, all of them the same for every variant.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
from rliable import library, metrics

from samg_jax.results import pairing, seed_outcomes, tidy_table

ALL = "all algorithms"
BEST = 100.0  # The score of the expert, to which the optimality gap is measured.
SAMG = pairing.SAMG
CLAIMED = (SAMG, "vanilla", "no_data")  # The variants that the paper compares.


@dataclasses.dataclass(frozen=True)
class Group:
    """Final scores that are summarized together.

    Attributes:
        source: The source of the data.
        label: The name of the algorithm, or `ALL`.
        tasks: T pairs of an algorithm and a dataset.
        seeds: The N seeds.
        scores: variant -> `[N, T]` normalized scores.
    """

    source: str
    label: str
    tasks: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]
    scores: dict[str, np.ndarray]


def groups(outcomes: pd.DataFrame) -> list[Group]:
    """A group per source and algorithm, and one of all if there are several.

    Tasks of different budgets (offline updates, online steps, networks) are never in
    one group; if an algorithm has several, the label ends with the budget. A task
    whose variants have different budgets is in no group.

    A group has the tasks and seeds that each of its variants has finished. A variant
    beside `CLAIMED` that was not run on all of their tasks is left out, so that it
    takes no task from them. Raw returns have no common scale and do not count.
    """
    kept = seed_outcomes.finished(outcomes)
    kept = kept[kept["unit"] == "normalized score"]
    found = []
    for source, own in kept.groupby("data_source"):
        labeled = list(own.groupby("algorithm"))
        if len(labeled) > 1:
            labeled.append((ALL, own))
        for label, rows in labeled:
            found += _of_label(str(source), label, rows)
    return found


def poolable(group: Group) -> bool:
    """Whether a group has datasets enough for a number over all of them."""
    return len({dataset for _, dataset in group.tasks}) >= tidy_table.FEWEST_DATASETS


def _of_label(source: str, label: str, rows: pd.DataFrame) -> list[Group]:
    parts = _by_budget(rows)
    if label == ALL:
        parts = {
            budget: _of_common_variants(own)
            for budget, own in parts.items()
            if own["algorithm"].nunique() > 1
        }
    found = []
    for budget, own in parts.items():
        words = pairing.budget_text(budget)
        name = f"{label}, {words}" if len(parts) > 1 else label
        found.append(_group(source, name, own))
    return [group for group in found if group is not None]


def _by_budget(rows: pd.DataFrame) -> dict[tuple, pd.DataFrame]:
    """Budget -> the rows of the tasks whose claimed variants all have that budget."""
    rows = rows.assign(budget=pairing.budgets(rows))
    parts = {}
    for _, own in rows.groupby(tidy_table.TASK):
        claimed = own[own["variant"].isin(CLAIMED)]
        budgets = set((claimed if len(claimed) else own)["budget"])
        if len(budgets) == 1:
            (budget,) = budgets
            parts.setdefault(budget, []).append(own[own["budget"] == budget])
    return {budget: pd.concat(parts[budget]) for budget in sorted(parts)}


def _of_common_variants(rows: pd.DataFrame) -> pd.DataFrame:
    variants = [set(own["variant"]) for _, own in rows.groupby("algorithm")]
    return rows[rows["variant"].isin(set.intersection(*variants))]


def _group(source: str, label: str, rows: pd.DataFrame) -> Group | None:
    variants = tidy_table.in_order(rows["variant"])
    keys = ["algorithm", "dataset", "variant"]
    table = rows.pivot(index="seed", columns=keys, values="final")
    required = [name for name in variants if name in CLAIMED] or variants
    tasks = [
        task
        for task in sorted(
            set(rows[tidy_table.TASK].itertuples(index=False, name=None))
        )
        if all((*task, variant) in table.columns for variant in required)
    ]
    columns = {name: [(*task, name) for task in tasks] for name in variants}
    columns = {
        name: own
        for name, own in columns.items()
        if all(column in table.columns for column in own)
    }
    table = table[[column for own in columns.values() for column in own]].dropna()
    if not tasks or table.empty:
        return None
    scores = {name: table[own].to_numpy(float) for name, own in columns.items()}
    return Group(source, label, tuple(tasks), tuple(table.index), scores)


def summary(group: Group, reps: int) -> pd.DataFrame:
    """IQM and optimality gap of every variant, in points of the score.

    The interquartile mean leaves out the lowest and the highest quarter of all runs.
    The optimality gap is how far below `BEST` runs end; a run above it counts 0.

    Args:
        group: The group, from `groups`.
        reps: Resamples of the stratified bootstrap; `_bounds` says when it gives NaN.

    Returns:
        The columns `variant`, and of `iqm` and `gap` also `_low` and `_high`, 95 %.
    """

    def both(scores):
        gap = metrics.aggregate_optimality_gap(scores, BEST)
        return np.array([metrics.aggregate_iqm(scores), gap])

    with _global_generator():
        values, bounds = library.get_interval_estimates(group.scores, both, reps=reps)
    rows = []
    for variant, own in values.items():
        row = {"variant": variant}
        for name, value, low, high in zip(
            ("iqm", "gap"), own, *_bounds(group, bounds[variant]), strict=True
        ):
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def profiles(
    group: Group, thresholds: np.ndarray, reps: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Variant -> share of runs above each threshold `[K]`, and its 95 % band `[2, K]`.

    Args:
        group: The group, from `groups`.
        thresholds: `[K]` scores.
        reps: Resamples of the stratified bootstrap. With fewer than
            `tidy_table.FEWEST_SEEDS` seeds the band is NaN.
    """
    with _global_generator():
        values, bounds = library.create_performance_profile(
            group.scores, thresholds, custom_profile_func=_shares_above, reps=reps
        )
    if len(group.seeds) < tidy_table.FEWEST_SEEDS:
        bounds = {name: np.full_like(own, np.nan) for name, own in bounds.items()}
    return values, bounds


def _shares_above(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return (scores[..., None] > thresholds).mean(axis=(0, 1))


def chance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The probability that a run of the first is above one of the second, `[1]`.

    This is the mean over tasks of rliable's probability of improvement; a tie counts
    half. It is computed for all tasks at once, which thousands of resamples need.

    Args:
        first: `[N, T]` scores.
        second: `[M, T]` scores.
    """
    above = first[:, None] > second[None]
    equal = first[:, None] == second[None]
    return np.array([above.mean() + equal.mean() / 2])


def improvements(group: Group, reps: int) -> pd.DataFrame:
    """The probability of improvement of SAMG over every other variant.

    Args:
        group: The group, from `groups`.
        reps: Resamples of the stratified bootstrap; `_bounds` says when it gives NaN.

    Returns:
        The columns `over`, `probability`, `low`, `high`, and `above`, the number of
        tasks on which it is above 0.5; no rows without SAMG.
    """
    others = [name for name in group.scores if name != SAMG]
    if SAMG not in group.scores:
        others = []
    pairs = {name: [group.scores[SAMG], group.scores[name]] for name in others}
    with _global_generator():
        values, bounds = library.get_interval_estimates(pairs, chance, reps=reps)
    rows = []
    for name in others:
        (low,), (high,) = _bounds(group, bounds[name])
        tasks = zip(*(scores.T for scores in pairs[name]), strict=True)
        above = sum(chance(one, other)[0] > 0.5 for one, other in tasks)
        rows.append((name, values[name][0], low, high, above))
    return pd.DataFrame(rows, columns=["over", "probability", "low", "high", "above"])


def _bounds(group: Group, bounds: np.ndarray) -> np.ndarray:
    """Bounds `[2, K]`, NaN where they would pretend to be certain.

    That is the case with fewer than `tidy_table.FEWEST_SEEDS` seeds, and if every
    resample gave the same number, such as 0.5 if SAMG wins all seeds of one task and
    loses all of another: the seeds of a task then say nothing on how tasks differ.
    """
    bounds = np.array(bounds, float)
    if len(group.seeds) < tidy_table.FEWEST_SEEDS:
        bounds[:] = np.nan
    bounds[:, np.isclose(bounds[0], bounds[1])] = np.nan
    return bounds


@contextlib.contextmanager
def _global_generator() -> Iterator[None]:
    """Seed NumPy's global generator inside the block, and restore it afterward.

    rliable draws from it although it accepts a generator; a report is reproducible.
    """
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
