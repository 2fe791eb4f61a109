"""A table of the report, and how it is written in Markdown and in LaTeX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from samg_jax.results import markup, tidy_table

NONE = "-"  # The cell of a number that there is not.


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        name: The name of its files.
        title: What the table shows.
        header: The names of the columns.
        rows: The cells; each row is as long as the header.
        note: What the numbers are.
        disclaimer: See `tidy_table.disclaimer`. It is above the table in a file of its
            own; a page has it once at the top and the `mark` at each table.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    disclaimer: str = ""

    @property
    def mark(self) -> str:
        """The disclaimer in a few words."""
        return tidy_table.mark(self.disclaimer)


def of_rows(
    name: str,
    title: str,
    rows: Sequence[Mapping[str, str]],
    note: str = "",
    disclaimer: str = "",
) -> Table:
    """A table of rows that each map every heading to a cell; there is one at least."""
    cells = tuple(tuple(row.values()) for row in rows)
    return Table(name, title, tuple(rows[0]), cells, note, disclaimer)


def markdown(table: Table, alone: bool = True) -> str:
    """The table as Markdown, with its title, disclaimer and note.

    Args:
        table: The table.
        alone: Whether a file has nothing else; if not, the disclaimer is a mark.
    """
    parts = [f"**{markup.markdown(table.title)}**"]
    if table.disclaimer and not alone:
        parts[0] += f" *({markup.markdown(table.mark)})*"
    elif table.disclaimer:
        parts.append(f"> **{markup.markdown(table.disclaimer)}**")
    parts.append(markup.markdown_table(table.header, table.rows))
    if table.note:
        parts.append(markup.markdown(table.note))
    return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """The table as a LaTeX float; it needs the package booktabs."""
    parts = [markup.latex(table.title)]
    if table.disclaimer:
        parts.append(rf"\textbf{{{markup.latex(table.disclaimer)}}}")
    if table.note:
        parts.append(markup.latex(table.note))
    caption = ". ".join(part.removesuffix(".") for part in parts[:-1])
    caption = f"{caption}. {parts[-1]}" if caption else parts[-1]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{markup.label(table.name)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
        r"\toprule",
        _row(table.header),
        r"\midrule",
        *(_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return " & ".join(markup.latex(cell) for cell in cells) + r" \\"
