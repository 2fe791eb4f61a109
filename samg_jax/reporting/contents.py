"""What the report consists of: its sections, with their tables and pictures."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import pandas as pd

from samg_jax.reporting import (
    aggregate_pictures,
    aggregates,
    comparisons,
    computing,
    learning_curves,
    pictures,
    published,
    results,
    summaries,
)
from samg_jax.reporting import courses as courses_lib
from samg_jax.reporting.pictures import Picture
from samg_jax.reporting.tables import Table


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        anchor: what links to it name.
        tables: shown first.
        pictures: shown below them.
        folded: whether it is closed until it is asked for.
    """

    title: str
    anchor: str
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...] = ()
    folded: bool = False


def sections(frame: pd.DataFrame, folder: pathlib.Path, reps: int) -> list[Section]:
    """Returns the whole report.

    Args:
        frame: from `results.read`.
        folder: of the PNGs, which are written here.
        reps: of every bootstrap.
    """
    courses = courses_lib.of(frame)
    found = []
    for source in sorted(set(frame["data_source"])):
        rows = frame[frame["data_source"] == source]
        own = courses[courses["data_source"] == source]
        found += across(source, rows, own, folder, reps)
    found.append(beside_published(frame, courses))
    for dataset in sorted(set(frame["dataset"])):
        found.append(of_dataset(frame, courses, dataset, folder))
    found.append(Section("Compute", "compute", (computing.table(frame),)))
    found.append(Section("Runs", "runs", (runs(frame),)))
    full = map(comparisons.in_full, published.everything().values())
    found.append(
        Section("Published tables", "published-tables", tuple(full), folded=True)
    )
    return found


def across(
    source: str,
    rows: pd.DataFrame,
    courses: pd.DataFrame,
    folder: pathlib.Path,
    reps: int,
) -> list[Section]:
    """Returns the section on all datasets of a source; none where there is nothing.

    Args:
        source: of the data.
        rows: of that source.
        courses: of these.
        folder: of the PNGs.
        reps: of every bootstrap.
    """
    groups = aggregates.groups(courses)
    final = aggregates.differences(courses, "final")
    shown = _Shown(folder, source)
    if groups:
        tasks = {dataset for group in groups for _, dataset in group.tasks}
        shown.caution = results.caution(rows[rows["dataset"].isin(tasks)])
        _add_groups(shown, groups, reps)
    if len(final):
        shown.caution = results.caution(
            rows[rows["dataset"].isin(set(final["dataset"]))]
        )
        area = aggregates.differences(courses, "area")
        shown.tables.append(
            summaries.of_differences(source, final, area, shown.caution)
        )
        for (algorithm, unit), own in final.groupby(["algorithm", "unit"]):
            shown.draw(
                f"differences_{unit}_{algorithm}",
                f"{algorithm}: paired differences of the final score",
                functools.partial(aggregate_pictures.draw_differences, differences=own),
                aggregate_pictures.height(len(own), lines=2),
            )
    if not shown.tables:
        return []
    return [
        Section(
            f"Across datasets: {source}",
            f"across-{shown.suffix}",
            tuple(shown.tables),
            tuple(shown.pictures),
        )
    ]


class _Shown:
    """Collects what a section shows; its pictures' names end with the source."""

    def __init__(self, folder: pathlib.Path, source: str):
        self.tables: list[Table] = []
        self.pictures: list[Picture] = []
        self.caution = ""
        self.suffix = source.replace(" ", "_")
        self._folder = folder

    def draw(self, name, title, draw, height=pictures.HEIGHT):
        self.pictures.append(
            pictures.write(
                self._folder, f"{name}_{self.suffix}", title, self.caution, draw, height
            )
        )


def _add_groups(shown: _Shown, groups, reps) -> None:
    found = [aggregates.summary(group, reps) for group in groups]
    better = [aggregates.improvements(group, reps) for group in groups]
    shown.tables.append(summaries.of_groups(groups, found, reps, shown.caution))
    lines = sum(map(len, found))
    for which, title in (("iqm", "Interquartile mean"), ("gap", "Optimality gap")):
        draw = functools.partial(
            aggregate_pictures.draw_summary, groups=groups, found=found, which=which
        )
        shown.draw(which, title, draw, aggregate_pictures.height(lines))
    if sum(map(len, better)):
        shown.tables.append(
            summaries.of_improvements(groups, better, reps, shown.caution)
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
    """Returns the section of a dataset: its table, and two pictures per algorithm."""
    table = summaries.of_dataset(frame, courses, dataset)
    own = courses[courses["dataset"] == dataset]
    shown = []
    lasting = own[own["status"] != courses_lib.FAILED]
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
    """Returns the section that compares with the published tables."""
    tables = published.everything()
    found = (
        comparisons.scores(frame, courses, tables),
        comparisons.regret(frame, courses, tables),
    )
    kept = tuple(table for table in found if table is not None)
    return Section("Beside the published scores", "published", kept)


def runs(frame: pd.DataFrame) -> Table:
    """Returns what was run, on which data and machine, with which versions."""
    rows = []
    for dataset, own in frame.groupby("dataset"):
        cells = [
            ", ".join(sorted({str(value) for value in own[name]}))
            for name in ("data_source", "physics", "algorithm", "seed")
        ]
        machines = [
            "; ".join(sorted(set(own[name]) - {""})) or comparisons.NONE
            for name in results.MACHINE
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
            *results.MACHINE,
            "versions",
            "commit",
        ),
        rows=tuple(rows),
        caution=results.caution(frame),
    )
