"""The variants of a suite in words."""

from __future__ import annotations

import pandas as pd

from samg_jax.results import run_setups, tidy_table
from samg_jax.results.report_tables import Table

MEANINGS = {
    "offline": (
        "Pre-training on the offline data. All variants of an algorithm start from it."
    ),
    "vanilla": (
        "The algorithm's own fine-tuning, on offline and online data. No guidance."
    ),
    "no_data": (
        "Fine-tuning on online data only, without guidance (p = 0). The control that "
        "shows what the guidance adds."
    ),
    "samg": (
        "Fine-tuning on online data only. A frozen offline critic guides the update "
        "with the weight p(s, a) of a C-VAE."
    ),
    "samg_even": "As samg, but with the constant weight p = 0.5.",
    "samg_random": "As samg, but with a random weight, p uniform in [0, 1].",
    "samg_embedding": "As samg, but with the weight of an embedding network.",
}
GUIDED = "samg"


def table(frame: pd.DataFrame, found: run_setups.Setups) -> Table:
    """Table of the variants in the results."""
    variants = tidy_table.in_order(set(frame["variant"]) - {"offline"})
    if (frame["phase"] == "offline").any():
        variants = ["offline", *variants]
    rows = tuple((name, meaning(name, found)) for name in variants)
    return Table("glossary", "Variants", ("variant", "meaning"), rows)


def meaning(variant: str, found: run_setups.Setups) -> str:
    """What a variant is, and what a variant of the suite itself changes."""
    if variant in MEANINGS:
        return MEANINGS[variant]
    base, _, swept = variant.partition(" ")
    named = {name for _, name, _ in found}
    if swept and base in MEANINGS and variant not in named:
        return f"As {base}, with {swept}."
    for (algorithm, name, dataset), config in found.items():
        if name not in (variant, base) or (algorithm, GUIDED, dataset) not in found:
            continue
        default = run_setups.recorded(found[algorithm, GUIDED, dataset], algorithm)
        own = run_setups.recorded(config, algorithm)
        changed = {k: v for k, v in own.items() if default.get(k) != v}
        if changed and (name == variant or variant not in named):
            extra = f", {swept}" if swept and name == base else ""
            words = run_setups.words(changed)
            return f"A variant of these results: as {GUIDED}, with {words}{extra}."
    return f"A variant of these results. Its changes are {run_setups.UNKNOWN}."
