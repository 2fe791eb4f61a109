"""Published numbers on D4RL: the paper's Tables 1 and 2 (in part), and CORL's.

The files of `published_tables/` have a row per dataset and a column per algorithm; a
column `cql:samg` is SAMG's, `cql` vanilla's; a cell is `mean(std)` or a mean.
"""

from __future__ import annotations

import dataclasses
import pathlib

FOLDER = pathlib.Path(__file__).with_name("published_tables")


@dataclasses.dataclass(frozen=True)
class Published:
    """A published table.

    Attributes:
        name: The name of its file.
        title: What the table shows, and where it was published.
        columns: The algorithms, with `:samg` if SAMG fine-tuned.
        cells: dataset -> the numbers as printed, one per column.
        note: What a reader must know; may be empty.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    cells: dict[str, tuple[str, ...]]
    note: str = ""

    def cell(self, dataset: str, column: str) -> str:
        """A number as printed, or a dash if the table has none.

        Args:
            dataset: A name, with or without its version. A locally collected dataset
                (`-local`) gets the numbers of the published one with the same name.
            column: A column, such as `iql` or `iql:samg`.
        """
        if column not in self.columns or not self.has(dataset):
            return "-"
        return spaced(self.cells[_plain(dataset)][self.columns.index(column)])

    def has(self, dataset: str) -> bool:
        """Whether the table has numbers for a dataset, named as for `cell`."""
        return _plain(dataset) in self.cells


def _plain(dataset: str) -> str:
    return dataset.removesuffix("-local").removesuffix("-v2")


def spaced(cell: str) -> str:
    """Spell `mean(std)` as `mean (std)`."""
    return cell.replace("(", " (")


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


def read(name: str) -> Published:
    """Read a table of `TITLES`."""
    text = (FOLDER / f"{name}.txt").read_text()
    header, *lines = (line.split() for line in text.splitlines())
    cells = {dataset: tuple(numbers) for dataset, *numbers in lines}
    note = NOTES.get(name, "")
    return Published(name, TITLES[name], tuple(header[1:]), cells, note)


def everything() -> dict[str, Published]:
    """Read all tables of `TITLES`, by name."""
    return {name: read(name) for name in TITLES}
