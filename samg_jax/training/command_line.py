"""Flags of the programs that take `--config`: mistakes are told in one message.

Left alone, a misspelt dataset or field ends in a traceback through the flags library.
"""

from __future__ import annotations

import pathlib
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import app

from samg_jax import checks
from samg_jax.training import validation


def parse(argv: Sequence[str]) -> list[str]:
    """Returns what is left of `argv` after its flags; for `app.run(flags_parser=)`.

    Exits with a message where the config's file, dataset or fields are not known.
    """
    with checks.program():
        check(argv)
    return app.parse_flags_with_usage(argv)


def check(argv: Sequence[str]) -> None:
    """Raises ValueError where `--config=FILE:DATASET` or `--config.FIELD` is wrong."""
    given = re.search(r"^--?config(?:=|\n)(.*)$", "\n".join(argv), re.MULTILINE)
    if not given:
        return
    config = load(*given[1].split(":", 1)).to_dict()
    for argument in argv:
        field = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if field:
            check_field(field[1], config)


def load(file: str, *dataset: str) -> ml_collections.ConfigDict:
    """Returns the config of a file, for a dataset or the file's own default."""
    path = pathlib.Path(file)
    if not path.is_file():
        known = [str(other) for other in sorted(path.parent.glob("*.py"))]
        hint = checks.hint(file, known)
        raise checks.UserError(
            f"There is no config file {file!r}. {hint}It must be a Python file with a "
            "function get_config, such as configs/cql_samg.py of this package. Give "
            "its path, from the current folder or absolute: --config=FILE:DATASET."
        )
    # Config files import one another as `configs`, from wherever they are run.
    sys.path.append(str(path.absolute().parent.parent))
    return runpy.run_path(str(path))["get_config"](*dataset)


def check_field(name: str, config: Mapping[str, Any]) -> None:
    """Raises ValueError for a dotted field that the config does not have."""
    level, path = config, "config"
    for part in name.split("."):
        if isinstance(level, Mapping) and part in level:
            level, path = level[part], f"{path}.{part}"
            continue
        hint = checks.hint(name, validation.flatten(config), "config.")
        has = "is a single value"
        if isinstance(level, Mapping):
            has = f"has the fields {', '.join(sorted(level))}"
        raise checks.UserError(
            f"Unknown field config.{name}. {hint}{path} {has}. Correct the name; "
            "--dry_run prints all fields."
        )
