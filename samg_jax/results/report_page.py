"""The files of the report: a page that needs no other file, pictures and tables."""

from __future__ import annotations

import base64
import datetime
import pathlib
import re

import jinja2

from samg_jax import checks, durable
from samg_jax.results import (
    markup,
    pictures,
    report_contents,
    report_tables,
    run_setups,
    seed_outcomes,
    suite_location,
    suite_table,
    verdict,
)

PAGE = "index.html"
REFRESH = '<meta http-equiv="refresh" content="{}">'  # The page reloads by itself.


def write(
    folder: pathlib.Path, out: pathlib.Path, reps: int, reload_s: int | None = None
) -> pathlib.Path:
    """Write the report of a suite and return the path of its page.

    The folder gets `index.html`; `figures/` with each picture as PNG, PDF and SVG, and
    the PNG for dark pages in `figures/dark/`; `tables/` with each table in Markdown and
    LaTeX; `report.md` with all tables; and `configs.json` with the configs of the rows,
    if they are recorded. Every file is replaced as a whole, the page last.

    Args:
        folder: The folder of the suite, with its table of results.
        out: The folder of the report, created if missing.
        reps: The number of resamples of every bootstrap.
        reload_s: Seconds until a browser loads the page again; None for never.

    Raises:
        checks.UserError: There is nothing to report, or it cannot be written.
    """
    found = run_setups.read(folder)
    frame = run_setups.add(suite_table.read(folder), found)
    courses = seed_outcomes.of(frame)
    checks.folder(out / "tables", "out=FOLDER")
    place = out / "figures"
    note = run_setups.note(folder)
    sections = report_contents.sections(frame, courses, found, place, reps, note)
    said = verdict.sentences(frame, courses)
    texts = []
    for section in sections:
        texts.append(f"## {markup.markdown(section.title)}\n")
        if section.note:
            texts.append(f"{markup.markdown(section.note)}\n")
        for table in section.tables:
            name = pictures.file_name(table.name)
            texts.append(report_tables.markdown(table, alone=False))
            replace(out / "tables" / f"{name}.md", report_tables.markdown(table))
            replace(out / "tables" / f"{name}.tex", report_tables.latex(table))
    if found:
        replace(out / run_setups.FILE, run_setups.text(found, note))
    caution = suite_table.caution(frame)
    title = f"samg_jax: {folder.resolve().name}"
    parts = [f"# {markup.markdown(title)}", *map(markup.markdown, said)]
    head = "\n\n".join(parts) + "\n"
    if caution:
        head += f"\n> **{markup.markdown(caution)}**\n"
    replace(out / "report.md", "\n".join([head, *texts]))
    path = suite_location.find(folder)
    changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    html = _template().render(
        title=title,
        caution=caution,
        said=said,
        sections=sections,
        origins=sorted(set(frame["data_source"])),
        count=len(frame.drop_duplicates(suite_table.RUN)),
        file=path.name,
        changed=f"{changed:%Y-%m-%d %H:%M} UTC",
        refresh=REFRESH.format(reload_s) if reload_s else "",
    )
    return replace(out / PAGE, html)


def stop_reloading(page: pathlib.Path) -> None:
    """Remove the reloading from a page."""
    pattern = REFRESH.replace("{}", r"\d+")
    replace(page, re.sub(pattern, "", page.read_text()))


def replace(path: pathlib.Path, text: str) -> pathlib.Path:
    """Write a file, whole or not at all, and return its path."""
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
    """A data URI with the content of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
