"""The sections of the report, with their tables and pictures."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np
import pandas as pd

from samg_jax.results import (
    aggregate_pictures,
    aggregates,
    computing,
    glossary,
    learning_curves,
    outcome_tables,
    pairing,
    pictures,
    published_comparisons,
    result_folders,
    run_setups,
    seed_outcomes,
    tidy_table,
)
from samg_jax.results.pictures import Picture
from samg_jax.results.report_tables import Table


@dataclasses.dataclass
class Section:
    """A part of the report.

    Attributes:
        title: The heading.
        anchor: The target of links to the section.
        tables: The tables, below the pictures.
        pictures: The pictures, below the heading.
        folded: Whether the section is closed until a reader opens it.
        note: The text below the heading.
    """

    title: str
    anchor: str
    tables: list[Table] = dataclasses.field(default_factory=list)
    pictures: list[Picture] = dataclasses.field(default_factory=list)
    folded: bool = False
    note: str = ""


def sections(
    results: result_folders.Results,
    outcomes: pd.DataFrame,
    folder: pathlib.Path,
    reps: int,
) -> list[Section]:
    """The whole report, with each dataset before anything that pools them.

    Args:
        results: The results, from `result_folders.read`.
        outcomes: The rows, from `seed_outcomes.of`.
        folder: The folder for the pictures, which this function writes.
        reps: The number of resamples of every bootstrap.
    """
    frame, setups = results.frame, results.setups
    shown = [Section("Variants", "variants", [glossary.table(frame, setups)])]
    for dataset in sorted(set(frame["dataset"])):
        shown.append(of_dataset(frame, outcomes, dataset, folder))
    for source in sorted(set(frame["data_source"])):
        rows = frame[frame["data_source"] == source]
        own = outcomes[outcomes["data_source"] == source]
        shown += by_seed(source, rows, own, folder)
        shown += across(source, rows, own, folder, reps)
    trained = [
        run_setups.budgets(frame, outcomes, setups),
        run_setups.hyperparameters(frame, setups),
    ]
    shown.append(Section("How it was trained", "training", trained, note=results.note))
    published = published_comparisons.everything()
    given = frame, outcomes, published
    beside = [
        published_comparisons.scores(*given),
        published_comparisons.regret(*given),
    ]
    title = "Comparison with published scores"
    shown.append(Section(title, "published", list(filter(None, beside))))
    if np.isfinite(frame["wall_time"]).any():  # Only suites record it.
        shown.append(Section("Compute", "compute", [computing.table(frame)]))
    shown.append(Section("Runs", "runs", [computing.runs(frame)]))
    full = [table.in_full() for table in published.values()]
    shown.append(Section("Published tables", "published-tables", full, folded=True))
    return shown


def of_dataset(
    frame: pd.DataFrame, outcomes: pd.DataFrame, dataset: str, folder: pathlib.Path
) -> Section:
    """The section of a dataset: its table, and two pictures per algorithm."""
    table = outcome_tables.of_dataset(frame, outcomes, dataset)
    section = Section(dataset, f"dataset-{dataset}", [table])
    own = outcomes[outcomes["dataset"] == dataset]
    lasting = own[own["status"] != seed_outcomes.FAILED]
    for algorithm in sorted(set(lasting["algorithm"])):
        given = {"frame": frame, "algorithm": algorithm, "dataset": dataset}
        for name, title, draw in (
            ("curve", "fine-tuning", learning_curves.draw_online),
            ("switch", "around the switch", learning_curves.draw_switch),
        ):
            name = f"{name}_{dataset}_{algorithm}"
            title = f"{algorithm} on {dataset}: {title}"
            draw = functools.partial(draw, **given)
            section.pictures.append(
                pictures.write(folder, name, title, table.disclaimer, draw)
            )
    return section


def by_seed(
    source: str, rows: pd.DataFrame, outcomes: pd.DataFrame, folder: pathlib.Path
) -> list[Section]:
    """The section of paired differences for each task; empty without any."""
    final = pairing.differences(outcomes, "final")
    if final.empty:
        return []
    compared = rows[rows["dataset"].isin(set(final["dataset"]))]
    disclaimer = tidy_table.disclaimer(compared)
    area = pairing.differences(outcomes, "area")
    table = outcome_tables.of_differences(source, final, area, disclaimer)
    place = source.replace(" ", "_")
    title = f"SAMG against the other variants: {source}"
    section = Section(title, f"paired-{place}", [table])
    for (algorithm, unit), own in final.groupby(["algorithm", "unit"]):
        draw = functools.partial(aggregate_pictures.draw_differences, differences=own)
        section.pictures.append(
            pictures.write(
                folder,
                f"differences_{unit}_{algorithm}_{place}",
                f"{algorithm}: paired differences of the final score",
                disclaimer,
                draw,
                aggregate_pictures.height(len(own), lines=2),
            )
        )
    return [section]


def across(
    source: str,
    rows: pd.DataFrame,
    outcomes: pd.DataFrame,
    folder: pathlib.Path,
    reps: int,
) -> list[Section]:
    """The section on all datasets of a source; empty without fine-tuning.

    Takes the arguments of `by_seed`, and the number of resamples of every bootstrap.
    """
    groups = aggregates.groups(outcomes)
    pooled = [group for group in groups if aggregates.poolable(group)]
    place = source.replace(" ", "_")
    section = Section(f"Across datasets: {source}", f"across-{place}")
    if pooled:
        tasks = {dataset for group in pooled for _, dataset in group.tasks}
        disclaimer = tidy_table.disclaimer(rows[rows["dataset"].isin(tasks)])
        _add_groups(section, pooled, reps, disclaimer, folder)
    elif outcomes["dataset"].nunique() < 2:
        return []
    apart = [group.label for group in groups if not aggregates.poolable(group)]
    if apart or not pooled:
        names = f" ({', '.join(apart)})" if apart else ""
        section.note = (
            f"Fewer than {tidy_table.FEWEST_DATASETS} datasets with equal budgets "
            f"give no pooled number{names}. Their sections above show each task by "
            "itself."
        )
    return [section]


def _add_groups(section: Section, groups, reps, disclaimer, folder) -> None:
    place = groups[0].source.replace(" ", "_")

    def add(name, title, draw, height=pictures.HEIGHT, **given):
        given = f"{name}_{place}", title, disclaimer, functools.partial(draw, **given)
        section.pictures.append(pictures.write(folder, *given, height))

    found = [aggregates.summary(group, reps) for group in groups]
    better = [aggregates.improvements(group, reps) for group in groups]
    section.tables.append(outcome_tables.of_groups(groups, found, reps, disclaimer))
    height = aggregate_pictures.height(sum(map(len, found)))
    for which, title in (("iqm", "Interquartile mean"), ("gap", "Optimality gap")):
        draw = aggregate_pictures.draw_summary
        add(which, title, draw, height, groups=groups, found=found, which=which)
    if lines := sum(map(len, better)):
        table = outcome_tables.of_improvements(groups, better, reps, disclaimer)
        section.tables.append(table)
        draw, title = (
            aggregate_pictures.draw_improvements,
            "Probability of improvement of SAMG",
        )
        height = aggregate_pictures.height(lines)
        add("improvement", title, draw, height, groups=groups, found=better)
    for group in groups:
        thresholds = aggregate_pictures.thresholds_of(group)
        shares, bands = aggregates.profiles(group, thresholds, reps)
        count = f"{len(group.tasks)} task" + ("s" if len(group.tasks) > 1 else "")
        title = f"Performance profile: {group.label}, {count}"
        given = {"thresholds": thresholds, "shares": shares, "bands": bands}
        draw = aggregate_pictures.draw_profiles
        add(f"profile_{group.label}", title, draw, **given)
