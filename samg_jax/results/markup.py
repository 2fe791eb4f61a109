"""Text as Markdown and LaTeX print it letter by letter; one function for each format.

Names of files, configs, datasets and sweeps come from anywhere. Whatever they hold,
they end no cell, open no tag and start no command. HTML is left to the templates, which
escape by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import tabulate

# All are replaced at once, so that nothing that was put in is replaced again.
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
# Tabulate's own "github" has no blanks in the rule, which our readers of tables expect.
_ROW = tabulate.DataRow("| ", " | ", " |")
_RULE = tabulate.Line("| ", "-", " | ", " |")
_TABLE = tabulate.TableFormat(None, _RULE, None, None, _ROW, _ROW, 0, None)
_LATEX = re.compile("|".join(map(re.escape, LATEX)))
# An underscore between letters emphasizes nothing, and names are full of them.
# Brackets of intervals stay too, unless a link follows.
_MARKDOWN = re.compile(r"[\\`*|~]|\](?=[(\[:])|\[(?=\^)|(?<![^\W_])_|_(?![^\W_])")


class Markdown(str):
    """Text that is Markdown already: `markdown` leaves it as it is."""


def one_line(text: str) -> str:
    """Text without what ends a line, or is no letter at all."""
    text = text.encode("utf-8", "replace").decode()  # Names may be no Unicode.
    return "".join(letter if letter.isprintable() else " " for letter in text)


def latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    text = _LATEX.sub(lambda match: LATEX[match[0]], one_line(text))
    # After the end of a row LaTeX would read these as its argument.
    return "{}" + text if text.lstrip().startswith(("[", "*")) else text


def label(text: str) -> str:
    """Text as the name of a label of LaTeX: letters that no command begins with."""
    return re.sub(r"[^A-Za-z0-9_.:-]", "-", text)


def markdown(text: str) -> Markdown:
    """Text that Markdown prints as it is, in a cell of a table or in a sentence."""
    if isinstance(text, Markdown):
        return text
    text = re.sub(r"&(?=#?\w+;)", "&amp;", one_line(text))  # It would begin an entity.
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)  # It would begin a tag.
    return Markdown(_MARKDOWN.sub(lambda match: f"\\{match[0]}", text))


def markdown_code(text: str) -> Markdown:
    """Text in the letters of code, whatever backticks are in it."""
    text = one_line(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if "`" in text else ""
    return Markdown(f"{fence}{space}{text}{space}{fence}")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; its cells are escaped unless they are `Markdown`."""
    cells = [[markdown(cell) for cell in line] for line in (header, *rows)]
    return tabulate.tabulate(cells, "firstrow", _TABLE, disable_numparse=True)
