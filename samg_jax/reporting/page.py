"""The report as files: a page that needs nothing else, and beside it what it shows."""

from __future__ import annotations

import base64
import datetime
import pathlib
import re

import jinja2

from samg_jax import checks, durable
from samg_jax.analysis import markup
from samg_jax.reporting import (
    contents,
    pictures,
    results,
    setups,
    sources,
    tables,
    verdict,
)
from samg_jax.reporting import courses as courses_lib

PAGE = "index.html"
REFRESH = '<meta http-equiv="refresh" content="{}">'  # The page reloads by itself.


def write(
    folder: pathlib.Path, out: pathlib.Path, reps: int, reload_s: int | None = None
) -> pathlib.Path:
    """Writes the report of a suite; returns the path of its page.

    Beside `index.html` lie `figures/` with each picture as PNG, PDF and SVG, of which
    `figures/dark/` has the PNG on dark ground, and `tables/` with each table in
    Markdown and LaTeX; `report.md` has all of the tables. Every file is replaced as a
    whole, the page last.

    Args:
        folder: of the suite, with its table of results.
        out: folder of the report, created where missing.
        reps: resamples of every bootstrap.
        reload_s: seconds after which a browser reads the page again; None for never.

    Raises:
        checks.UserError: there is nothing to report, or it cannot be written.
    """
    found = setups.read(folder)
    frame = setups.add(results.read(folder), found)
    courses = courses_lib.of(frame)
    checks.folder(out / "tables", "out=FOLDER")
    sections = contents.sections(frame, courses, found, out / "figures", reps)
    said = verdict.sentences(frame, courses)
    texts = []
    for section in sections:
        texts.append(f"## {markup.markdown(section.title)}\n")
        if section.note:
            texts.append(f"{markup.markdown(section.note)}\n")
        for table in section.tables:
            name = pictures.file_name(table.name)
            texts.append(tables.markdown(table, alone=False))
            replace(out / "tables" / f"{name}.md", tables.markdown(table))
            replace(out / "tables" / f"{name}.tex", tables.latex(table))
    caution = results.caution(frame)
    title = f"samg_jax: {folder.resolve().name}"
    head = f"# {markup.markdown(title)}\n\n{markup.markdown(' '.join(said))}\n"
    if caution:
        head += f"\n> **{markup.markdown(caution)}**\n"
    replace(out / "report.md", "\n".join([head, *texts]))
    path = sources.find(folder)
    changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    html = _template().render(
        title=title,
        caution=caution,
        said=said,
        sections=sections,
        origins=sorted(set(frame["data_source"])),
        count=len(frame.drop_duplicates(results.RUN)),
        file=path.name,
        changed=f"{changed:%Y-%m-%d %H:%M} UTC",
        refresh=REFRESH.format(reload_s) if reload_s else "",
    )
    return replace(out / PAGE, html)


def stop_reloading(page: pathlib.Path) -> None:
    """Makes a page that reloads one that does not."""
    pattern = REFRESH.replace("{}", r"\d+")
    replace(page, re.sub(pattern, "", page.read_text()))


def replace(path: pathlib.Path, text: str) -> pathlib.Path:
    """Writes a file, whole or not at all; returns its path."""
    durable.write_result(path, text)
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = data_uri
    return environment.get_template("page.html.jinja")


def data_uri(path: pathlib.Path) -> str:
    """Returns a PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
