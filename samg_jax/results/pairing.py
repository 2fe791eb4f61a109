"""Differences between variants, paired by seed; what of them is comparable."""

from __future__ import annotations

import numpy as np
import pandas as pd

from samg_jax.results import seed_outcomes, seed_statistics, tidy_table

SAMG = "samg"
BUDGET = ["updates", "steps", "networks"]
KEYS = ["data_source", "dataset", "algorithm", "unit"]


def paired(outcomes: pd.DataFrame, one: str, other: str, quantity: str) -> pd.Series:
    """The first variant minus the other, by seed, of the seeds that both finished.

    Args:
        outcomes: The rows of one task, from `seed_outcomes.of`.
        one: The first variant.
        other: The other variant.
        quantity: A column of the outcomes, such as `final`.
    """
    kept = seed_outcomes.finished(outcomes)
    table = kept.pivot(index="seed", columns="variant", values=quantity)
    table = table.reindex(columns=[one, other])
    return (table[one] - table[other]).dropna()


def differences(outcomes: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """SAMG minus each other variant, paired by seed.

    A variant whose budget differs from SAMG's is left out; see `incomparable`.

    Args:
        outcomes: The rows, from `seed_outcomes.of`.
        quantity: A column of them, such as `final`.

    Returns:
        One row per dataset, algorithm and other variant, with the columns `KEYS`,
        `over`, `values` (one per seed), their `mean`, the half-width `width` of its
        95 % interval, and the number of `wins` of SAMG.
    """
    rows = []
    for keys, own in seed_outcomes.finished(outcomes).groupby(KEYS):
        budgets = budgets_of_variants(own)
        for name in tidy_table.in_order(budgets) if SAMG in budgets else []:
            if name == SAMG or budgets[name] != budgets[SAMG]:
                continue
            values = paired(own, SAMG, name, quantity).to_numpy(float)
            if len(values):
                mean, width = seed_statistics.interval(values)
                rows.append((*keys, name, values, mean, width, int((values > 0).sum())))
    names = [*KEYS, "over", "values", "mean", "width", "wins"]
    return pd.DataFrame(rows, columns=names)


def incomparable(outcomes: pd.DataFrame) -> list[tuple[str, ...]]:
    """Algorithm, dataset and variant of each budget that differs from SAMG's."""
    found = []
    for task, own in seed_outcomes.finished(outcomes).groupby(tidy_table.TASK):
        budgets = budgets_of_variants(own)
        for name in tidy_table.in_order(budgets) if SAMG in budgets else []:
            if budgets[name] != budgets[SAMG]:
                found.append((*map(str, task), name))
    return found


def budgets(outcomes: pd.DataFrame) -> pd.Series:
    """The budget of each run: offline updates, online steps and networks."""
    found = list(outcomes[BUDGET].itertuples(index=False, name=None))
    return pd.Series(found, index=outcomes.index, dtype=object)


def budgets_of_variants(outcomes: pd.DataFrame) -> dict[str, set[tuple]]:
    """Variant -> the budgets of its runs."""
    return {
        name: set(budgets(own)) for name, own in outcomes.groupby("variant", sort=False)
    }


def budget_text(budget: tuple[float, float, str]) -> str:
    """A budget in words, such as `10,000 updates, 3,000 steps, 256x256`."""
    updates, steps, networks = budget
    parts = [f"{updates:,.0f} updates"] if updates >= 0 else []
    parts.append(f"{steps:,.0f} steps")
    return ", ".join([*parts, networks] if networks else parts)


def established(values: np.ndarray) -> bool:
    """Whether the 95 % interval of paired differences has a width and excludes 0."""
    mean, width = seed_statistics.interval(values)
    seeds = len(values) >= tidy_table.FEWEST_SEEDS
    return bool(seeds and not np.isclose(width, 0) and width < abs(mean))
