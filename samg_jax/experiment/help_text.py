"""What `--help` prints: how a program is called, its flags, and where fields are."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable

from absl import flags

from samg_jax.experiment import field_table

WIDTH = 88
KINDS = {
    "bool": "",
    "int": "=N",
    "float": "=X",
    "enum": "=WORD",
    "string": "=TEXT",
    "multi string": "=TEXT",
    "comma separated list of strings": "=A,B",
}
# What absl adds to the meaning of a flag: its choices before it, or how to repeat it.
CHOICES = re.compile(r"^<[^<>]*>: ")
REPEATED = re.compile(r";\s+repeat this option to specify a list of values$")
EXPERIMENTS = """\
A config and its dataset are one flag, --config=CONFIG:DATASET. CONFIG may be the path
of your own file. --config.dataset.path=FILE replaces the data of DATASET."""
FIELDS = """\
Every field of a config is a flag, such as --config.online.steps=20000. The last one
wins. --explain=guidance.penalty says what a field means, its default and its bounds;
--explain=guidance does so for a group and --explain=all for every field. The same
table is in docs/pages/configuration.md; --dry_run prints the values of this command."""


def text(about: str, names: Iterable[str], has_config: bool) -> str:
    """The help of a program.

    Args:
        about: The docstring of the program.
        names: The names of its flags.
        has_config: Whether it takes `--config` and the fields of a config.
    """
    parts = [inspect.cleandoc(about).strip()]
    if has_config:
        parts += [EXPERIMENTS, *_known(), FIELDS]
    parts += ["Flags:", *(_described(flags.FLAGS[name]) for name in names)]
    return "\n\n".join(parts)


def _known() -> list[str]:
    """The configs and the datasets, each in a paragraph."""
    found = [listed("Configs", field_table.config_names())]
    lines = [
        textwrap.indent(listed(family, names), "  ")
        for family, names in field_table.datasets().items()
    ]
    return [*found, "\n".join(["Datasets:", *lines, "  minari:ID, of Minari"])]


def listed(title: str, names: Iterable[str]) -> str:
    """Names behind a title, as a paragraph."""
    line = f"{title}: {', '.join(names)}"
    return textwrap.fill(
        line, WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False
    )


def _described(flag: flags.Flag) -> str:
    """A flag, its meaning, and its default if it has one."""
    kind = flag.flag_type()
    name = f"--[no]{flag.name}" if kind == "bool" else f"--{flag.name}"
    about = REPEATED.sub("", CHOICES.sub("", flag.help))
    if isinstance(flag, flags.MultiFlag):
        about += " May be repeated."
    allowed = getattr(flag.parser, "enum_values", None)
    if allowed:
        about += f" Allowed: {', '.join(allowed)}."
    if flag.default not in (None, [], "") and kind != "bool":
        default = flag.default
        shown = ",".join(map(str, default)) if isinstance(default, list) else default
        about += f" Default: {shown}."
    elif kind == "bool":
        about += f" Default: {'on' if flag.default else 'off'}."
    indent = " " * 6
    body = textwrap.fill(about, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"  {name}{KINDS.get(kind, '=VALUE')}\n{body}"
