"""The sections of the report, with their tables and pictures."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import pandas as pd

from samg_jax.results import (
    aggregate_pictures,
    aggregates,
    computing,
    glossary,
    learning_curves,
    pictures,
    published_comparisons,
    published_scores,
    run_setups,
    seed_outcomes,
    suite_summaries,
    suite_table,
)
from samg_jax.results.pictures import Picture
from samg_jax.results.report_tables import Table


@dataclasses.dataclass(frozen=True)
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
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...] = ()
    folded: bool = False
    note: str = ""


def sections(
    frame: pd.DataFrame,
    courses: pd.DataFrame,
    found: run_setups.Setups,
    folder: pathlib.Path,
    reps: int,
    note: str = "",
) -> list[Section]:
    """The whole report, with each dataset before anything that pools them.

    Args:
        frame: from `results.read`.
        courses: from `seed_outcomes.of`.
        found: from `run_setups.read`.
        folder: The folder for the pictures, which this function writes.
        reps: The number of resamples of every bootstrap.
        note: From `run_setups.note`.
    """
    shown = [Section("Variants", "variants", (glossary.table(frame, found),))]
    for dataset in sorted(set(frame["dataset"])):
        shown.append(of_dataset(frame, courses, dataset, folder))
    for source in sorted(set(frame["data_source"])):
        rows = frame[frame["data_source"] == source]
        own = courses[courses["data_source"] == source]
        shown += by_seed(source, rows, own, folder)
        shown += across(source, rows, own, folder, reps)
    trained = (
        run_setups.budgets(frame, courses, found),
        run_setups.hyperparameters(frame, found),
    )
    shown.append(Section("How it was trained", "training", trained, note=note))
    shown.append(beside_published(frame, courses))
    shown.append(Section("Compute", "compute", (computing.table(frame),)))
    shown.append(Section("Runs", "runs", (runs(frame),)))
    full = map(published_comparisons.in_full, published_scores.everything().values())
    shown.append(
        Section("Published tables", "published-tables", tuple(full), folded=True)
    )
    return shown


def by_seed(
    source: str, rows: pd.DataFrame, courses: pd.DataFrame, folder: pathlib.Path
) -> list[Section]:
    """The section of paired differences for each task; empty without any.

    Args:
        source: The source of the data.
        rows: The rows from that source.
        courses: The courses of these rows.
        folder: The folder for the pictures.
    """
    final = aggregates.differences(courses, "final")
    if final.empty:
        return []
    shown = _Shown(folder, source)
    shown.caution = suite_table.caution(
        rows[rows["dataset"].isin(set(final["dataset"]))]
    )
    area = aggregates.differences(courses, "area")
    shown.tables.append(
        suite_summaries.of_differences(source, final, area, shown.caution)
    )
    for (algorithm, unit), own in final.groupby(["algorithm", "unit"]):
        shown.draw(
            f"differences_{unit}_{algorithm}",
            f"{algorithm}: paired differences of the final score",
            functools.partial(aggregate_pictures.draw_differences, differences=own),
            aggregate_pictures.height(len(own), lines=2),
        )
    return [shown.section(f"SAMG against the other variants: {source}", "paired")]


def across(
    source: str,
    rows: pd.DataFrame,
    courses: pd.DataFrame,
    folder: pathlib.Path,
    reps: int,
) -> list[Section]:
    """The section on all datasets of a source; empty without fine-tuning.

    Args:
        source: The source of the data.
        rows: The rows from that source.
        courses: The courses of these rows.
        folder: The folder for the pictures.
        reps: The number of resamples of every bootstrap.
    """
    groups = aggregates.groups(courses)
    pooled = [group for group in groups if aggregates.poolable(group)]
    shown = _Shown(folder, source)
    if pooled:
        tasks = {dataset for group in pooled for _, dataset in group.tasks}
        shown.caution = suite_table.caution(rows[rows["dataset"].isin(tasks)])
        _add_groups(shown, pooled, reps)
    elif courses["dataset"].nunique() < 2:
        return []
    apart = [group.label for group in groups if not aggregates.poolable(group)]
    note = ""
    if apart or not pooled:
        names = f" ({', '.join(apart)})" if apart else ""
        note = (
            f"Fewer than {suite_table.FEWEST_DATASETS} datasets with equal budgets "
            f"give no pooled number{names}. Their sections above show each task by "
            "itself."
        )
    return [shown.section(f"Across datasets: {source}", "across", note)]


class _Shown:
    """Tables and pictures of a section; names of pictures end with the source."""

    def __init__(self, folder: pathlib.Path, source: str):
        self.tables: list[Table] = []
        self.pictures: list[Picture] = []
        self.caution = ""
        self._suffix = source.replace(" ", "_")
        self._folder = folder

    def section(self, title, anchor, note=""):
        shown = tuple(self.tables), tuple(self.pictures)
        return Section(title, f"{anchor}-{self._suffix}", *shown, note=note)

    def draw(self, name, title, draw, height=pictures.HEIGHT):
        name = f"{name}_{self._suffix}"
        self.pictures.append(
            pictures.write(self._folder, name, title, self.caution, draw, height)
        )


def _add_groups(shown: _Shown, groups, reps) -> None:
    found = [aggregates.summary(group, reps) for group in groups]
    better = [aggregates.improvements(group, reps) for group in groups]
    shown.tables.append(suite_summaries.of_groups(groups, found, reps, shown.caution))
    lines = sum(map(len, found))
    for which, title in (("iqm", "Interquartile mean"), ("gap", "Optimality gap")):
        draw = functools.partial(
            aggregate_pictures.draw_summary, groups=groups, found=found, which=which
        )
        shown.draw(which, title, draw, aggregate_pictures.height(lines))
    if sum(map(len, better)):
        shown.tables.append(
            suite_summaries.of_improvements(groups, better, reps, shown.caution)
        )
        draw = functools.partial(
            aggregate_pictures.draw_improvements, groups=groups, found=better
        )
        lines = aggregate_pictures.height(sum(map(len, better)))
        shown.draw("improvement", "Probability of improvement of SAMG", draw, lines)
    for group in groups:
        thresholds = aggregate_pictures.thresholds_of(group)
        profile = aggregates.profiles(group, thresholds, reps)
        draw = functools.partial(
            aggregate_pictures.draw_profiles, thresholds=thresholds, found=profile
        )
        tasks = len(group.tasks)
        count = f"{tasks} task" + ("s" if tasks > 1 else "")
        title = f"Performance profile: {group.label}, {count}"
        shown.draw(f"profile_{group.label}", title, draw)


def of_dataset(
    frame: pd.DataFrame, courses: pd.DataFrame, dataset: str, folder: pathlib.Path
) -> Section:
    """The section of a dataset: its table, and two pictures per algorithm."""
    table = suite_summaries.of_dataset(frame, courses, dataset)
    own = courses[courses["dataset"] == dataset]
    shown = []
    lasting = own[own["status"] != seed_outcomes.FAILED]
    for algorithm in sorted(set(lasting["algorithm"])):
        for name, title, draw in (
            ("curve", "fine-tuning", learning_curves.draw_online),
            ("switch", "around the switch", learning_curves.draw_switch),
        ):
            shown.append(
                pictures.write(
                    folder,
                    f"{name}_{dataset}_{algorithm}",
                    f"{algorithm} on {dataset}: {title}",
                    table.caution,
                    functools.partial(
                        draw, frame=frame, algorithm=algorithm, dataset=dataset
                    ),
                )
            )
    return Section(dataset, f"dataset-{dataset}", (table,), tuple(shown))


def beside_published(frame: pd.DataFrame, courses: pd.DataFrame) -> Section:
    """The section that compares with the published tables."""
    tables = published_scores.everything()
    found = (
        published_comparisons.scores(frame, courses, tables),
        published_comparisons.regret(frame, courses, tables),
    )
    kept = tuple(table for table in found if table is not None)
    return Section("Comparison with published scores", "published", kept)


def runs(frame: pd.DataFrame) -> Table:
    """Table of data, machine and versions of the runs."""
    rows = []
    for dataset, own in frame.groupby("dataset"):
        cells = [
            ", ".join(sorted({str(value) for value in own[name]}))
            for name in ("data_source", "physics", "algorithm", "seed")
        ]
        machines = [
            "; ".join(sorted(set(own[name]) - {""})) or published_comparisons.NONE
            for name in suite_table.MACHINE
        ]
        versions = "; ".join(sorted(set(own["versions"])))
        commits = ", ".join(sorted(set(own["git_commit"])))
        rows.append((str(dataset), *cells, *machines, versions, commits))
    return Table(
        name="runs",
        title="What was run",
        header=(
            "dataset",
            "data source",
            "physics",
            "algorithms",
            "seeds",
            *suite_table.MACHINE,
            "versions",
            "commit",
        ),
        rows=tuple(rows),
        caution=suite_table.caution(frame),
    )
