"""The suite's numbers next to the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from samg_jax.results import published_scores, seed_outcomes, suite_table
from samg_jax.results.published_scores import Published
from samg_jax.results.report_tables import Table

NONE = "-"
SPREAD = (
    "Cells are the mean and, in parentheses, the standard deviation over seeds. "
    "Published numbers are as printed; CORL divides by its 4 seeds, not by 3. They "
    "come from D4RL's own files and are no baseline for rows with another data source; "
    "compare only the order of magnitude."
)


def scores(
    frame: pd.DataFrame, courses: pd.DataFrame, published: Mapping[str, Published]
) -> Table:
    """Table of our scores next to the paper's Table 1 and CORL's tables.

    Args:
        frame: from `results.read`.
        courses: from `seed_outcomes.of`.
        published: from `published_scores.everything`.
    """
    rows = []
    for source, dataset, algorithm in _runs(frame):
        offline = _offline(frame, courses, dataset, algorithm)
        ends = {
            variant: _spread(_of(courses, dataset, algorithm, variant)["final"])
            for variant in ("vanilla", "no_data", "samg")
        }
        paper = published["paper_scores"]
        rows.append(
            (
                dataset,
                source,
                algorithm,
                _spread(offline),
                published["corl_offline"].cell(dataset, algorithm),
                published["corl_before"].cell(dataset, algorithm),
                ends["vanilla"],
                paper.cell(dataset, algorithm),
                published["corl_finetuned"].cell(dataset, algorithm),
                ends["no_data"],
                ends["samg"],
                paper.cell(dataset, f"{algorithm}:samg"),
            )
        )
    return Table(
        name="published_scores",
        title="Scores: the paper's Table 1, CORL's tables, and ours",
        header=(
            "dataset",
            "data source",
            "algorithm",
            "offline: ours",
            "offline: CORL",
            "before fine-tuning: CORL",
            "vanilla: ours",
            "vanilla: paper",
            "vanilla: CORL",
            "no_data: ours",
            "samg: ours",
            "samg: paper",
        ),
        rows=tuple(rows),
        note=(
            f"{SPREAD} Budgets differ, too. The paper and CORL train offline for "
            "1,000,000 updates. The paper fine-tunes for 500,000 steps (IQL: "
            "1,000,000), CORL for 1,000,000. Our budgets are in the table Budgets and "
            "networks. "
            f"{_not_held(frame, published['paper_scores'])}"
        ).strip(),
        caution=suite_table.caution(frame),
    )


def regret(
    frame: pd.DataFrame, courses: pd.DataFrame, published: Mapping[str, Published]
) -> Table | None:
    """Table of our regret next to the paper's Table 2 and CORL's; None without any.

    Takes the arguments of `scores`.
    """
    sparse = courses[np.isfinite(courses["regret"])]
    rows = []
    for source, dataset, algorithm in _runs(sparse):
        ours = {
            variant: _spread(_of(sparse, dataset, algorithm, variant)["regret"], 3)
            for variant in ("vanilla", "no_data", "samg")
        }
        paper = published["paper_regret"]
        rows.append(
            (
                dataset,
                source,
                algorithm,
                ours["vanilla"],
                paper.cell(dataset, algorithm),
                published["corl_regret"].cell(dataset, algorithm),
                ours["no_data"],
                ours["samg"],
                paper.cell(dataset, f"{algorithm}:samg"),
            )
        )
    if not rows:
        return None
    return Table(
        name="published_regret",
        title="Regret: the paper's Table 2, CORL's, and ours",
        header=(
            "dataset",
            "data source",
            "algorithm",
            "vanilla: ours",
            "vanilla: paper",
            "vanilla: CORL",
            "no_data: ours",
            "samg: ours",
            "samg: paper",
        ),
        rows=tuple(rows),
        note=f"Regret is the share of training episodes that fail. {SPREAD}",
        caution=suite_table.caution(
            frame[frame["dataset"].isin(set(sparse["dataset"]))]
        ),
    )


def in_full(published: Published) -> Table:
    """A published table, unchanged."""
    header = tuple(name.replace(":samg", " + SAMG") for name in published.columns)
    rows = tuple(
        (dataset, *map(published_scores.spaced, cells))
        for dataset, cells in published.cells.items()
    )
    return Table(
        name=published.name,
        title=published.title,
        header=("dataset", *header),
        rows=rows,
        note=f"Published numbers on D4RL, not measured here. {published.note}".strip(),
    )


def _not_held(frame: pd.DataFrame, paper: Published) -> str:
    """A sentence on the datasets whose published numbers are missing here."""
    missing = [name for name in sorted(set(frame["dataset"])) if not paper.has(name)]
    if not missing:
        return ""
    return f"We have no number of the paper for {', '.join(missing)}."


def _runs(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    columns = [rows[name] for name in ("data_source", "dataset", "algorithm")]
    return sorted(set(zip(*columns, strict=True)))


def _of(courses, dataset, algorithm, variant) -> pd.DataFrame:
    kept = seed_outcomes.finished(courses)
    return kept[
        (kept["dataset"] == dataset)
        & (kept["algorithm"] == algorithm)
        & (kept["variant"] == variant)
    ]


def _offline(frame, courses, dataset, algorithm) -> Sequence[float]:
    """The last offline scores, or those at the start of fine-tuning."""
    last = suite_table.offline_scores(frame, dataset, algorithm)
    if len(last):
        return last
    started = seed_outcomes.finished(courses)
    started = started[
        (started["dataset"] == dataset) & (started["algorithm"] == algorithm)
    ]
    return started.groupby("seed")["start"].first()


def _spread(values: Sequence[float], digits: int = 1) -> str:
    values = np.asarray(values, float)
    if not len(values) or not np.isfinite(values).all():
        return NONE
    mean = f"{values.mean():.{digits}f}"
    return f"{mean} ({values.std(ddof=1):.{digits}f})" if len(values) > 1 else mean
