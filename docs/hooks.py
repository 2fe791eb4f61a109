"""Fills the pages that are made from the package: fields, modules, measured tables.

A page asks for a table by a line `{{ name }}` with a key of `TABLES`. The tables of
launch/results/ become pages below measured/, and so does the report of a suite.
"""

from __future__ import annotations

import ast
import pathlib
import re
import sys

from mkdocs import exceptions
from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "launch" / "results"
REPORT = ("report.md", "*.png")  # Files of launch/results/local/.
FETCHED = re.compile(r"<(?:script|img|link)\b[^>]*\b(?:src|href)=\"?http")
PLACEHOLDER = re.compile(r"^\{\{ (\w+) \}\}$", re.MULTILINE)

sys.path.insert(0, str(ROOT))

from samg_jax.experiment import field_reference, field_table  # noqa: E402


def modules() -> str:
    """Every module of the package with the first line of its docstring."""
    lines = []
    folders = sorted({path.parent for path in (ROOT / "samg_jax").rglob("*.py")})
    for folder in folders:
        name = ".".join(folder.relative_to(ROOT).parts)
        lines += [f"### `{name}`", "", "| module | what |", "| --- | --- |"]
        for path in sorted(folder.glob("*.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
            about = " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")
            if path.stem != "__init__":
                lines.append(f"| `{path.stem}` | {about} |")
        lines.append("")
    return "\n".join(lines)


TABLES = {
    "fields": field_reference.markdown,
    "suite_fields": field_reference.suite_markdown,
    "modules": modules,
}


def on_page_markdown(markdown, page, config, files):
    """Puts the tables where a page asks for them."""
    del page, config, files
    return PLACEHOLDER.sub(
        lambda match: f'<div class="made" markdown>\n\n{TABLES[match[1]]()}\n\n</div>',
        markdown,
    )


def on_files(files, config):
    """Adds the measured tables as pages, and the report of a suite."""
    for path in sorted(RESULTS.glob("*.md")):
        name = f"measured/{path.name}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for pattern in REPORT:
        for path in sorted((RESULTS / "local").glob(pattern)):
            name = f"measured/local/{path.relative_to(RESULTS / 'local')}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_post_build(config):
    """Refuses a site that would fetch something, or lacks a page or a field."""
    site, source = pathlib.Path(config["site_dir"]), pathlib.Path(config["docs_dir"])
    for path in site.rglob("*.html"):
        if FETCHED.search(path.read_text()):
            raise exceptions.PluginError(
                f"{path} would fetch something from elsewhere."
            )
    for path in source.rglob("*.md"):
        page = site / path.relative_to(source).with_suffix(".html")
        if not page.is_file():
            raise exceptions.PluginError(f"{path} became no page.")
    pages = {
        "configuration.html": list(field_table.table()),
        "suites.html": [name.split(".", 1)[1] for name in field_table.suite_table()],
    }
    for page, names in pages.items():
        text = (site / page).read_text()
        for name in names:
            if not re.search(rf"<code>{re.escape(name)}</code>", text):
                raise exceptions.PluginError(f"{page} lacks the field {name}.")
