"""A table of the report, and how it is written in Markdown and in LaTeX."""

from __future__ import annotations

import dataclasses

from samg_jax.results import markup, suite_table


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        name: of its files.
        title: what it shows.
        header: of its columns.
        rows: as long as the header.
        note: what the numbers are.
        caution: see `suite_table.caution`; stands above the table in a file of its own.
            Among others it is shortened to its `mark`, because it stands once on top.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    caution: str = ""

    @property
    def mark(self) -> str:
        """The caution in a few words."""
        return suite_table.mark(self.caution)


def markdown(table: Table, alone: bool = True) -> str:
    """Returns the table as Markdown, with its title, caution and note.

    Args:
        table: to be written.
        alone: whether it is the whole of a file; else its caution is a mark.
    """
    parts = [f"**{markup.markdown(table.title)}**"]
    if table.caution and not alone:
        parts[0] += f" *({markup.markdown(table.mark)})*"
    elif table.caution:
        parts.append(f"> **{markup.markdown(table.caution)}**")
    parts.append(markup.markdown_table(table.header, table.rows))
    if table.note:
        parts.append(markup.markdown(table.note))
    return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """Returns the table as a LaTeX float; it needs the package booktabs."""
    parts = [markup.latex(table.title)]
    if table.caution:
        parts.append(rf"\textbf{{{markup.latex(table.caution)}}}")
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
