"""Statistics across datasets, by rliable (Agarwal et al., 2021), and paired by seed.

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

from samg_jax.results import seed_outcomes, seed_statistics, suite_table

ALL = "all algorithms"
BEST = 100.0  # Score of the expert, to which the optimality gap is measured.
SAMG = "samg"
CLAIMED = (SAMG, "vanilla", "no_data")  # Compared by what the paper claims.


@dataclasses.dataclass(frozen=True)
class Group:
    """Final scores that are summarized together.

    Attributes:
        source: of the data.
        label: name of the algorithm, or `ALL`.
        tasks: T pairs of an algorithm and a dataset.
        seeds: the N of them.
        scores: variant -> `[N, T]` normalized scores.
    """

    source: str
    label: str
    tasks: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]
    scores: dict[str, np.ndarray]


def groups(courses: pd.DataFrame) -> list[Group]:
    """Returns a group per source and algorithm, and one of all where there are more.

    Tasks of different budgets (offline updates, online steps, networks) are never in
    one group; where an algorithm has several, the label ends with the budget. A task
    whose variants have different budgets is in none.

    Counted are the tasks and seeds that every variant of the group has finished; a
    variant beside `CLAIMED` that was not run on all of their tasks is left out, so
    that it takes no task from them. Raw returns have no common scale and do not count.

    Args:
        courses: from `seed_outcomes.of`.
    """
    kept = seed_outcomes.finished(courses)
    kept = kept[kept["unit"] == "normalized score"]
    found = []
    for source, own in kept.groupby("data_source"):
        labels = sorted(set(own["algorithm"]))
        parts = [(label, own[own["algorithm"] == label]) for label in labels]
        if len(labels) > 1:
            parts.append((ALL, own))
        for label, rows in parts:
            found += _of_label(str(source), label, rows)
    return found


def poolable(group: Group) -> bool:
    """Whether a group has datasets enough for a number over all of them."""
    return len({dataset for _, dataset in group.tasks}) >= suite_table.FEWEST_DATASETS


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
        words = seed_outcomes.budget_text(budget)
        name = f"{label}, {words}" if len(parts) > 1 else label
        found.append(_group(source, name, own))
    return [group for group in found if group is not None]


def _by_budget(rows: pd.DataFrame) -> dict[tuple, pd.DataFrame]:
    """Returns budget -> rows, of tasks whose claimed variants all have that budget."""
    rows = rows.assign(budget=seed_outcomes.budgets(rows))
    parts = {}
    for _, own in rows.groupby(suite_table.TASK):
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
    variants = suite_table.in_order(rows["variant"])
    table = rows.pivot(
        index="seed", columns=["algorithm", "dataset", "variant"], values="final"
    )
    required = [name for name in variants if name in CLAIMED] or variants
    tasks = [
        task
        for task in sorted(set(zip(rows["algorithm"], rows["dataset"], strict=True)))
        if all((*task, variant) in table.columns for variant in required)
    ]
    variants = [
        variant
        for variant in variants
        if all((*task, variant) in table.columns for task in tasks)
    ]
    columns = [[(*task, variant) for task in tasks] for variant in variants]
    table = table[[column for own in columns for column in own]].dropna()
    if not tasks or table.empty:
        return None
    scores = {
        variant: table[own].to_numpy(float)
        for variant, own in zip(variants, columns, strict=True)
    }
    return Group(source, label, tuple(tasks), tuple(table.index), scores)


def summary(group: Group, reps: int) -> pd.DataFrame:
    """Returns IQM and optimality gap of every variant, in points of the score.

    The interquartile mean leaves out the lowest and the highest quarter of all runs;
    the optimality gap is how far below `BEST` runs end, those above it counting 0.

    Args:
        group: from `groups`.
        reps: of the stratified bootstrap; see `_bounds` for where it gives NaN.

    Returns:
        The columns `variant`, and of `iqm` and `gap` also `_low` and `_high`, 95 %.
    """

    def both(scores):
        gap = metrics.aggregate_optimality_gap(scores, BEST)
        return np.array([metrics.aggregate_iqm(scores), gap])

    with _global_generator():
        values, bounds = library.get_interval_estimates(group.scores, both, reps=reps)
    rows = []
    for variant, (iqm, gap) in values.items():
        low, high = _bounds(group, bounds[variant])
        ends = {"iqm_low": low[0], "iqm_high": high[0], "gap_low": low[1]}
        rows.append(
            {"variant": variant, "iqm": iqm, "gap": gap, **ends, "gap_high": high[1]}
        )
    return pd.DataFrame(rows)


def profiles(
    group: Group, thresholds: np.ndarray, reps: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns variant -> share of runs above each threshold, and its 95 % band.

    Args:
        group: from `groups`.
        thresholds: `[K]` scores.
        reps: of the stratified bootstrap; with fewer than `suite_table.FEWEST_SEEDS`
        seeds
            the band is NaN.
    """
    with _global_generator():
        values, bounds = library.create_performance_profile(
            group.scores, thresholds, custom_profile_func=_shares_above, reps=reps
        )
    if len(group.seeds) < suite_table.FEWEST_SEEDS:
        bounds = {name: np.full_like(own, np.nan) for name, own in bounds.items()}
    return {name: (own, *bounds[name]) for name, own in values.items()}


def _shares_above(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return (scores[..., None] > thresholds).mean(axis=(0, 1))


def chance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns how likely a run of the first is above one of the second, `[1]`.

    The mean over tasks of rliable's probability of improvement, ties counting half; it
    is computed for all tasks at once, which thousands of resamplings need.

    Args:
        first: `[N, T]`.
        second: `[M, T]`.
    """
    above = first[:, None] > second[None]
    equal = first[:, None] == second[None]
    return np.array([above.mean() + equal.mean() / 2])


def improvements(group: Group, reps: int) -> pd.DataFrame:
    """Returns the probability of improvement of SAMG over every other variant.

    Args:
        group: from `groups`.
        reps: of the stratified bootstrap; see `_bounds` for where it gives NaN.

    Returns:
        The columns `over`, `probability`, `low`, `high`, and `above`, the tasks on
        which it is above 0.5; no rows without SAMG.
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
    """Returns `[2, K]` bounds, NaN where they would pretend to be certain.

    That is with fewer than `suite_table.FEWEST_SEEDS` seeds, and where every resample
    gave the same number, such as 0.5 if SAMG wins all seeds of one task and loses all
    of
    another: the seeds of a task then say nothing on how tasks differ.
    """
    bounds = np.array(bounds, float)
    if len(group.seeds) < suite_table.FEWEST_SEEDS:
        bounds[:] = np.nan
    bounds[:, np.isclose(bounds[0], bounds[1])] = np.nan
    return bounds


def differences(courses: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Returns SAMG minus every other variant, of the same seed and pre-training.

    A variant whose budget is not SAMG's is left out; see `incomparable`.

    Args:
        courses: from `seed_outcomes.of`.
        quantity: one of its columns, such as `final`.

    Returns:
        One row per dataset, algorithm and other variant: `values`, one per seed that
        both have finished; their `mean`, the half-width `width` of its 95 % interval
        (Student's t), and how many `wins` of SAMG there are.
    """
    kept = seed_outcomes.finished(courses)
    rows = []
    for keys, own in kept.groupby(["data_source", "dataset", "algorithm", "unit"]):
        table = own.pivot(index="seed", columns="variant", values=quantity)
        others = [name for name in suite_table.in_order(table) if name != SAMG]
        budgets = _budgets_of_variants(own)
        for name in others if SAMG in table else []:
            if budgets[name] != budgets[SAMG]:
                continue
            values = (table[SAMG] - table[name]).dropna().to_numpy(float)
            if not len(values):
                continue
            mean, width = seed_statistics.interval(values)
            wins = int((values > 0).sum())
            rows.append((*keys, name, values, mean, width, wins))
    names = ["data_source", "dataset", "algorithm", "unit", "over", "values"]
    return pd.DataFrame(rows, columns=[*names, "mean", "width", "wins"])


def incomparable(courses: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Returns algorithm, dataset and variant where the budget is not that of SAMG."""
    found = []
    for (algorithm, dataset), own in seed_outcomes.finished(courses).groupby(
        suite_table.TASK
    ):
        budgets = _budgets_of_variants(own)
        for name in suite_table.in_order(budgets) if SAMG in budgets else []:
            if budgets[name] != budgets[SAMG]:
                found.append((str(algorithm), str(dataset), name))
    return found


def _budgets_of_variants(rows: pd.DataFrame) -> dict[str, set[tuple]]:
    rows = rows.assign(budget=seed_outcomes.budgets(rows))
    return {name: set(own["budget"]) for name, own in rows.groupby("variant")}


def established(values: np.ndarray) -> bool:
    """Whether the 95 % interval of paired differences has a width and excludes 0."""
    mean, width = seed_statistics.interval(values)
    seeds = len(values) >= suite_table.FEWEST_SEEDS
    return bool(seeds and not np.isclose(width, 0) and width < abs(mean))


@contextlib.contextmanager
def _global_generator() -> Iterator[None]:
    """Seeds NumPy's global generator inside the block, and restores it behind.

    rliable draws from it, whatever generator it is given; a report is reproducible.
    """
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
