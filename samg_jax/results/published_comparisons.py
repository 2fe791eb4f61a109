"""Published numbers on D4RL, and the suite's numbers next to them.

The files of `published_tables/` hold the paper's Tables 1 and 2 (in part) and CORL's.
They have a row per dataset and a column per algorithm; a column `cql:samg` is SAMG's,
`cql` vanilla's; a cell is `mean(std)` or a mean.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from samg_jax.results import report_tables, seed_outcomes, tidy_table
from samg_jax.results.report_tables import NONE, Table

FOLDER = pathlib.Path(__file__).with_name("published_tables")
TITLES = {
    "paper_scores": "SAMG paper, Table 1: normalized score after fine-tuning",
    "paper_regret": "SAMG paper, Table 2: regret of fine-tuning",
    "corl_offline": "CORL: offline, last evaluation",
    "corl_before": "CORL: before fine-tuning",
    "corl_finetuned": "CORL: after a million steps of fine-tuning",
    "corl_regret": "CORL: regret of fine-tuning",
}
# A number that the files lack may be published nevertheless.
NOTES = {
    "paper_scores": (
        "The table has nine of the paper's 15 tasks. The numbers for half-cheetah and "
        "walker2d could not be obtained."
    )
}
SPREAD = (
    "Cells are the mean and, in parentheses, the standard deviation over seeds. "
    "Published numbers are as printed; CORL divides by its 4 seeds, not by 3. They "
    "come from D4RL's own files and are no baseline for rows with another data source; "
    "compare only the order of magnitude."
)
BUDGETS = (
    "Budgets differ, too. The paper and CORL train offline for 1,000,000 updates. The "
    "paper fine-tunes for 500,000 steps (IQL: 1,000,000), CORL for 1,000,000. Our "
    "budgets are in the table Budgets and networks."
)


@dataclasses.dataclass(frozen=True)
class Published:
    """A published table.

    Attributes:
        name: The name of its file.
        columns: The algorithms, with `:samg` if SAMG fine-tuned.
        cells: dataset -> the numbers as printed, one per column.
    """

    name: str
    columns: tuple[str, ...]
    cells: dict[str, tuple[str, ...]]

    def cell(self, dataset: str, column: str) -> str:
        """A number as printed, or a dash if the table has none.

        Args:
            dataset: A name, with or without its version. A locally collected dataset
                (`-local`) gets the numbers of the published one with the same name.
            column: A column, such as `iql` or `iql:samg`.
        """
        if column not in self.columns or not self.has(dataset):
            return NONE
        return _spaced(self.cells[_plain(dataset)][self.columns.index(column)])

    def has(self, dataset: str) -> bool:
        """Whether the table has numbers for a dataset, named as for `cell`."""
        return _plain(dataset) in self.cells

    def in_full(self) -> Table:
        """The table, unchanged."""
        header = (name.replace(":samg", " + SAMG") for name in self.columns)
        rows = ((name, *map(_spaced, cells)) for name, cells in self.cells.items())
        note = "Published numbers on D4RL, not measured here. "
        return Table(
            name=self.name,
            title=TITLES[self.name],
            header=("dataset", *header),
            rows=tuple(rows),
            note=(note + NOTES.get(self.name, "")).strip(),
        )


def _plain(dataset: str) -> str:
    return dataset.removesuffix("-local").removesuffix("-v2")


def _spaced(cell: str) -> str:
    """Spell `mean(std)` as `mean (std)`."""
    return cell.replace("(", " (")


def read(name: str) -> Published:
    """Read a table of `TITLES`."""
    text = (FOLDER / f"{name}.txt").read_text()
    header, *lines = (line.split() for line in text.splitlines())
    cells = {dataset: tuple(numbers) for dataset, *numbers in lines}
    return Published(name, tuple(header[1:]), cells)


def everything() -> dict[str, Published]:
    """Read all tables of `TITLES`, by name."""
    return {name: read(name) for name in TITLES}


def scores(
    frame: pd.DataFrame, outcomes: pd.DataFrame, published: Mapping[str, Published]
) -> Table:
    """Table of our scores next to the paper's Table 1 and CORL's tables."""
    paper = published["paper_scores"]
    header = {
        "offline: ours": lambda *task: _spread(_offline(frame, outcomes, *task)),
        "offline: CORL": published["corl_offline"].cell,
        "before fine-tuning: CORL": published["corl_before"].cell,
        **_fine_tuned(outcomes, "final", 1, paper, published["corl_finetuned"]),
    }
    missing = [name for name in sorted(set(frame["dataset"])) if not paper.has(name)]
    note = f"{SPREAD} {BUDGETS}"
    if missing:
        note += f" We have no number of the paper for {', '.join(missing)}."
    title = "Scores: the paper's Table 1, CORL's tables, and ours"
    return _table("published_scores", title, frame, header, note)


def regret(
    frame: pd.DataFrame, outcomes: pd.DataFrame, published: Mapping[str, Published]
) -> Table | None:
    """Table of our regret next to the paper's Table 2 and CORL's; None without any.

    Takes the arguments of `scores`.
    """
    sparse = outcomes[np.isfinite(outcomes["regret"])]
    if sparse.empty:
        return None
    tables = published["paper_regret"], published["corl_regret"]
    header = _fine_tuned(sparse, "regret", 3, *tables)
    note = f"Regret is the share of training episodes that fail. {SPREAD}"
    title = "Regret: the paper's Table 2, CORL's, and ours"
    keys = ["data_source", *tidy_table.TASK]
    own = frame.merge(sparse[keys].drop_duplicates(), on=keys)
    return _table("published_regret", title, own, header, note)


def _fine_tuned(outcomes, quantity, digits, paper, corl):
    """Heading -> function of dataset and algorithm, for what is after the switch."""

    def ours(variant):
        def cell(dataset, algorithm):
            own = _of(outcomes, dataset, algorithm)
            return _spread(own.loc[own["variant"] == variant, quantity], digits)

        return cell

    return {
        "vanilla: ours": ours("vanilla"),
        "vanilla: paper": paper.cell,
        "vanilla: CORL": corl.cell,
        "no_data: ours": ours("no_data"),
        "samg: ours": ours("samg"),
        "samg: paper": lambda dataset, name: paper.cell(dataset, f"{name}:samg"),
    }


def _table(name, title, frame, header, note) -> Table:
    keys = ["data_source", "dataset", "algorithm"]
    tasks = sorted(set(frame[keys].itertuples(index=False, name=None)))
    rows = [
        {"dataset": dataset, "data source": source, "algorithm": algorithm}
        | {heading: cell(dataset, algorithm) for heading, cell in header.items()}
        for source, dataset, algorithm in tasks
    ]
    disclaimer = tidy_table.disclaimer(frame)
    return report_tables.of_rows(name, title, rows, note, disclaimer)


def _of(outcomes, dataset, algorithm) -> pd.DataFrame:
    kept = seed_outcomes.finished(outcomes)
    return kept[(kept["dataset"] == dataset) & (kept["algorithm"] == algorithm)]


def _offline(frame, outcomes, dataset, algorithm) -> Sequence[float]:
    """The last offline scores, or those at the start of fine-tuning."""
    last = tidy_table.offline_scores(frame, dataset, algorithm)
    if len(last):
        return last
    return _of(outcomes, dataset, algorithm).groupby("seed")["start"].first()


def _spread(values: Sequence[float], digits: int = 1) -> str:
    values = np.asarray(values, float)
    if not len(values) or not np.isfinite(values).all():
        return NONE
    mean = f"{values.mean():.{digits}f}"
    return f"{mean} ({values.std(ddof=1):.{digits}f})" if len(values) > 1 else mean
