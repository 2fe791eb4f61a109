"""What was published: the paper's Tables 1 and 2, as far as held, and CORL's; on D4RL.

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
        name: of its file.
        title: what it is and where it stands.
        columns: the algorithms, with `:samg` where SAMG fine-tuned.
        cells: dataset -> the numbers as printed, one per column.
        note: what must be known of it; empty for nothing.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    cells: dict[str, tuple[str, ...]]
    note: str = ""

    def cell(self, dataset: str, column: str) -> str:
        """Returns a number as printed; a dash where there is none here.

        Args:
            dataset: with or without its version; a locally collected one, `-local`, has
                the numbers of the published one whose name it bears.
            column: such as `iql` or `iql:samg`.
        """
        if column not in self.columns or not self.has(dataset):
            return "-"
        return spaced(self.cells[_plain(dataset)][self.columns.index(column)])

    def has(self, dataset: str) -> bool:
        """Returns whether there are numbers of a dataset, named as for `cell`."""
        return _plain(dataset) in self.cells


def _plain(dataset: str) -> str:
    return dataset.removesuffix("-local").removesuffix("-v2")


def spaced(cell: str) -> str:
    """Returns `mean(std)` as `mean (std)`."""
    return cell.replace("(", " (")


TITLES = {
    "paper_scores": "SAMG paper, Table 1: normalized score after fine-tuning",
    "paper_regret": "SAMG paper, Table 2: regret of fine-tuning",
    "corl_offline": "CORL: offline, last evaluation",
    "corl_before": "CORL: before fine-tuning",
    "corl_finetuned": "CORL: after a million steps of fine-tuning",
    "corl_regret": "CORL: regret of fine-tuning",
}
# What the files lack is no statement on what was published.
NOTES = {
    "paper_scores": (
        "Of the paper's 15 tasks these are the nine whose numbers we hold; for "
        "half-cheetah and walker2d we hold none."
    )
}


def read(name: str) -> Published:
    """Returns a table of `TITLES`."""
    text = (FOLDER / f"{name}.txt").read_text()
    header, *lines = (line.split() for line in text.splitlines())
    cells = {dataset: tuple(numbers) for dataset, *numbers in lines}
    note = NOTES.get(name, "")
    return Published(name, TITLES[name], tuple(header[1:]), cells, note)


def everything() -> dict[str, Published]:
    """Returns name -> table, of all of `TITLES`."""
    return {name: read(name) for name in TITLES}
