"""The reference of the config fields, as text for `--explain` and as Markdown.

    fields.explain("guidance.penalty")   # One field.
    fields.explain("guidance")           # A group.
    fields.explain("all")                # The table.

Neither this nor `field_table` imports JAX, so an answer takes less than a second.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from samg_jax import checks
from samg_jax.experiment import field_table

HEADER = "| field | meaning | default | allowed |"


def explain(name: str) -> str:
    """What there is to know of a field, of a group of fields, or of `all`, as text.

    Args:
        name: A dotted name, with or without `config.` or `--config.`.

    Raises:
        checks.UserError: if there is no such field and no such group.
    """
    name = name.strip().removeprefix("--").removeprefix("config.")
    known = {**field_table.table(), **field_table.suite_table()}
    if name in known:
        return _in_full(known[name])
    chosen = [row for row in known.values() if row.name.startswith(f"{name}.")]
    if name in ("all", "config"):
        chosen = list(known.values())
    if not chosen:
        given = f"There is no field config.{name}. "
        if not name:
            given = "No field is named to explain. "
        groups = sorted({row.group for row in known.values()} - {""})
        hint = checks.hint(name, [*known, *groups], "config.")
        raise checks.UserError(
            f"{given}{hint}Allowed are the dotted name of a "
            "field, such as guidance.penalty, the name of a group "
            f"({', '.join(groups)}), or all. Ask for all to see every field."
        )
    return "\n".join(_in_short(row) for row in chosen)


def markdown() -> str:
    """The whole table as Markdown, one section for every group."""
    rows = field_table.table().values()
    parts = []
    titles = {row.group: row.group for row in rows} | field_table.GROUPS
    for group, title in titles.items():
        chosen = [row for row in rows if row.group == group]
        if group != "agent":
            parts += [f"## {title}", "", *_markdown_rows(chosen), ""]
            continue
        parts += [f"## {title}", ""]
        configs = field_table.config_names()
        for algorithm in sorted({name.removesuffix("_samg") for name in configs}):
            own = [
                row._replace(
                    meanings=_only(row.meanings, algorithm),
                    defaults=_only(row.defaults, algorithm),
                )
                for row in chosen
            ]
            own = [row for row in own if row.defaults]
            parts += [f"### `{algorithm}`", "", *_markdown_rows(own, algorithm), ""]
    return "\n".join(parts)


def suite_markdown() -> str:
    """The table of a suite's fields as Markdown."""
    lines = [HEADER, "| --- | --- | --- | --- |"]
    for row in field_table.suite_table().values():
        name = row.name.removeprefix(field_table.SUITE)
        cells = (f"`{name}`", row.meanings[0][0], row.defaults[0][0], row.allowed)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _only(pairs, algorithm: str):
    """Those of the pairs that belong to an algorithm's configs, and these configs."""
    own = (algorithm, f"{algorithm}_samg")
    kept = [
        (text, tuple(name for name in names if name in own)) for text, names in pairs
    ]
    return tuple((text, names) for text, names in kept if names)


def _listed(pairs, between: str = " / ") -> str:
    """Texts in one line; all but the most common one name their configs."""
    first, *others = sorted(pairs, key=lambda pair: -len(pair[1]))
    return between.join([first[0], *(f"{t} ({', '.join(c)})" for t, c in others)])


def _markdown_rows(rows: Iterable[field_table.Field], algorithm: str = "") -> list[str]:
    lines = [HEADER, "| --- | --- | --- | --- |"]
    for row in rows:
        allowed = row.allowed + ("<br>sweepable" if row.sweepable else "")
        anchor = f"{algorithm}.{row.name}".removeprefix(".")
        cells = (
            f'<span id="{anchor}"></span>`{row.name}`',
            _listed(row.meanings),
            _listed(row.defaults, "<br>"),
            allowed.removeprefix("<br>"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _in_full(row: field_table.Field) -> str:
    flag = f"--config.{row.name}="
    if row.name.startswith(field_table.SUITE):
        flag = f"--set={row.name.removeprefix(field_table.SUITE)}="
    lines = [f"config.{row.name}".replace("config.suite.", "suite."), ""]
    for text, configs in row.meanings:
        own = f" ({', '.join(configs)})" if len(row.meanings) > 1 else ""
        lines += textwrap.wrap(text.replace("`", "") + own, 86)
    lines.append("")
    for text, configs in row.defaults:
        own = f" ({', '.join(configs)})" if len(row.defaults) > 1 else ""
        lines += _item("default", text.replace("`", "") + own)
    if row.allowed:
        lines += _item("allowed", row.allowed.replace("`", ""))
    lines += _item("set it", f"{flag}VALUE")
    if row.sweepable:
        lines += _item("sweep it", f"--sweep={row.name}=VALUE,VALUE")
    if len(row.configs) < len(field_table.config_names()) and not row.name.startswith(
        field_table.SUITE
    ):
        lines += _item("configs", ", ".join(row.configs))
    lines += _item("more", f"docs/pages/{row.page}.md")
    return "\n".join(lines)


def _item(title: str, text: str) -> list[str]:
    return textwrap.wrap(f"{title + ':':<10}{text}", 86, subsequent_indent=" " * 10)


def _in_short(row: field_table.Field) -> str:
    text = " / ".join(text for text, _ in row.meanings)
    text = f"{text} Default: {_listed(row.defaults)}."
    if row.allowed:
        text = f"{text} Allowed: {row.allowed}."
    indent = " " * 4
    wrapped = textwrap.wrap(
        text.replace("`", ""), 86, initial_indent=indent, subsequent_indent=indent
    )
    return "\n".join([row.name, *wrapped])
