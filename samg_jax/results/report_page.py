"""The files of the report: a page that needs no other file, pictures and tables."""

from __future__ import annotations

import base64
import pathlib
import re
import time
from collections.abc import Sequence

import jinja2

from samg_jax import checks, durable
from samg_jax.results import (
    markup,
    pictures,
    report_contents,
    report_tables,
    result_folders,
    run_setups,
    seed_outcomes,
    tidy_table,
    verdict,
)

PAGE = "index.html"
TABLE = "results.csv"
REFRESH = '<meta http-equiv="refresh" content="{}">'  # The page reloads by itself.


def write(
    folders: Sequence[pathlib.Path],
    out: pathlib.Path,
    reps: int,
    reload_s: int | None = None,
) -> pathlib.Path:
    """Write the report of suites or runs and return the path of its page.

    The folder gets `index.html`; `figures/` with each picture as PNG, PDF and SVG, and
    the PNG for dark pages in `figures/dark/`; `tables/` with each table in Markdown and
    LaTeX; `report.md` with all tables; `results.csv` with the results; and
    `configs.json` with the configs of the rows, if they are recorded. Every file is
    replaced as a whole, the page last.

    Args:
        folders: The folders of suites, with their results, and workdirs of runs.
        out: The folder of the report, created if missing.
        reps: The number of resamples of every bootstrap.
        reload_s: Seconds until a browser loads the page again; None for never.

    Raises:
        checks.UserError: There is nothing to report, or it cannot be written.
    """
    own_table = _has_own_table(folders, out)
    results = result_folders.read(folders)
    frame = results.frame
    outcomes = seed_outcomes.of(frame)
    checks.folder(out / "tables", "out=FOLDER")
    sections = report_contents.sections(results, outcomes, out / "figures", reps)
    said = verdict.sentences(frame, outcomes)
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
    if not own_table:
        rows = frame[list(tidy_table.COLUMNS)].astype({"failed": int})
        replace(out / TABLE, rows.to_csv(index=False, lineterminator="\n"))
    if results.setups:
        text = run_setups.text(results.setups, results.note)
        replace(out / run_setups.FILE, text)
    disclaimer = tidy_table.disclaimer(frame)
    parts = [f"# {markup.markdown(results.title)}", *map(markup.markdown, said)]
    head = "\n\n".join(parts) + "\n"
    if disclaimer:
        head += f"\n> **{markup.markdown(disclaimer)}**\n"
    replace(out / "report.md", "\n".join([head, *texts]))
    html = _template().render(
        title=results.title,
        disclaimer=disclaimer,
        said=said,
        sections=sections,
        sources=sorted(set(frame["data_source"])),
        count=len(frame.drop_duplicates(tidy_table.RUN)),
        origin=results.origin,
        refresh=REFRESH.format(reload_s) if reload_s else "",
    )
    return replace(out / PAGE, html)


def _has_own_table(folders: Sequence[pathlib.Path], out: pathlib.Path) -> bool:
    """Whether the folder of the report is that of a suite, whose table stays.

    Raises:
        checks.UserError: It has a table that no report wrote.
    """
    if out.resolve() in {folder.resolve() for folder in folders}:
        return True
    if (out / run_setups.JOBS).is_dir():
        return True
    if tidy_table.files(out) and not (out / PAGE).exists():
        raise checks.UserError(
            f"{tidy_table.files(out)[0]} exists already and is not of a report, which "
            "writes a table of that name. Set out=FOLDER to another folder."
        )
    return False


def watch(
    folder: pathlib.Path,
    out: pathlib.Path,
    reps: int,
    every_s: float,
    limit_s: float | None = None,
) -> int:
    """Write the report whenever a suite's results change; return how often it did.

    The page reloads by itself as long as it is watched. Results that cannot be reported
    yet are waited for; a line says why.

    Args:
        folder: The folder of the suite.
        out: The folder of the report.
        reps: The number of resamples of every bootstrap.
        every_s: Seconds between two looks.
        limit_s: Seconds after which it ends; None for Ctrl-C alone.
    """
    began, seen, count = time.monotonic(), False, 0  # False: nothing was looked at.
    try:
        while True:
            path = next(iter(tidy_table.files(folder)), None)
            status = path and path.stat()
            now = status and (path, status.st_mtime_ns, status.st_size)
            if now != seen:
                seen, count = now, count + _try(folder, out, reps, every_s)
            if limit_s is not None and time.monotonic() - began + every_s > limit_s:
                break
            time.sleep(every_s)
    except KeyboardInterrupt:
        print(f"no longer watching {folder}", flush=True)
    if (out / PAGE).exists():
        text = re.sub(REFRESH.replace("{}", r"\d+"), "", (out / PAGE).read_text())
        replace(out / PAGE, text)
    return count


def _try(folder, out, reps, every_s) -> bool:
    try:
        path = write([folder], out, reps, reload_s=max(round(every_s), 1))
    except checks.UserError as error:
        print(f"waiting: {error}", flush=True)
        return False
    print(f"report: {path}", flush=True)
    return True


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
