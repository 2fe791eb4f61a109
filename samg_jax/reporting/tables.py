"""A table of the report, and how it is written in Markdown and in LaTeX."""

from __future__ import annotations

import dataclasses
import re

from samg_jax.analysis import diagnosis_tables

# Longest first, so that nothing that was put in is replaced again.
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "→": r"$\rightarrow$",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        name: of its files.
        title: what it shows.
        header: of its columns.
        rows: as long as the header.
        note: what the numbers are.
        caution: see `results.caution`; stands above the table wherever it is shown.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    caution: str = ""


def markdown(table: Table) -> str:
    """Returns the table as Markdown, with its title, caution and note."""
    parts = [f"**{table.title}**"]
    if table.caution:
        parts.append(f"> **{table.caution}**")

    def plain(row):  # A bar would end the cell.
        return [cell.replace("|", "\\|") for cell in row]

    rows = [plain(row) for row in table.rows]
    parts.append(diagnosis_tables.table(plain(table.header), rows))
    if table.note:
        parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """Returns the table as a LaTeX float; it needs the package booktabs."""
    caption = escape(table.title)
    if table.caution:
        caption += rf". \textbf{{{escape(table.caution)}}}"
    if table.note:
        caption += f". {escape(table.note)}"
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption.replace('..', '.')}}}",
        rf"\label{{tab:{table.name}}}",
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
    return " & ".join(escape(cell) for cell in cells) + r" \\"


def escape(text: str) -> str:
    """Returns text that LaTeX prints as it is."""
    signs = "|".join(re.escape(sign) for sign in LATEX)
    return re.sub(signs, lambda match: LATEX[match[0]], text)
