"""Flags of the programs that take `--config`: mistakes are told in one message.

Left alone, a misspelt dataset or field ends in a traceback through the flags library.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import app

import samg_jax
from samg_jax import checks
from samg_jax.training import validation

# The package's own config files. In a checkout this is a link to the folder `configs`.
CONFIGS = pathlib.Path(samg_jax.__file__).parent / "configs"


def parse(argv: Sequence[str]) -> list[str]:
    """Returns what is left of `argv` after its flags; for `app.run(flags_parser=)`.

    Exits with a message where the config's file, dataset or fields are not known.
    """
    with checks.program():
        check(argv)
        argv = with_file(argv)
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


def with_file(argv: Sequence[str]) -> list[str]:
    """The arguments with the path of the file that `--config` means, for the parser."""
    argv = list(argv)
    for place, argument in enumerate(argv):
        flag, sign, given = argument.partition("=")
        if flag not in ("-config", "--config"):
            continue
        at = place if sign else place + 1
        if at < len(argv):
            file, *dataset = (given if sign else argv[at]).split(":", 1)
            value = ":".join([str(find_config(file)), *dataset])
            argv[at] = f"{flag}={value}" if sign else value
    return argv


def load(file: str, *dataset: str) -> ml_collections.ConfigDict:
    """Returns the config of a file, for a dataset or the file's own default."""
    path = find_config(file)
    import_as_configs(path.parent)
    return runpy.run_path(str(path))["get_config"](*dataset)


def find_config(file: str) -> pathlib.Path:
    """The config file that `--config=FILE` means.

    Args:
        file: a path; or the name of a file of the package, such as `awac_samg`. The
            path `configs/awac_samg.py` also means the package's file if the current
            folder has none.

    Raises:
        UserError: if there is no such file.
    """
    path = pathlib.Path(file).expanduser()
    if file and path.name == file and path.suffix != ".py":
        known = {other.stem: other for other in CONFIGS.glob("*.py")}
        del known["__init__"], known["base"]
        if file in known:
            return known[file]
        raise checks.UserError(
            f"There is no config {file!r}. {checks.hint(file, known)}Known are "
            f"{', '.join(sorted(known))}. Write one of these, or the path of a Python "
            "file of your own: --config=FILE:DATASET."
        )
    packaged = CONFIGS / path.name
    if path.is_file():
        return path
    if path.parent == pathlib.Path("configs") and packaged.is_file():
        return packaged
    known = [str(other) for other in sorted(path.parent.glob("*.py"))]
    known += [f"configs/{other.name}" for other in sorted(CONFIGS.glob("*.py"))]
    hint = checks.hint(file, known)
    raise checks.UserError(
        f"There is no config file {file!r}. {hint}It must be a Python file with a "
        "function get_config, such as configs/cql_samg.py of this package. Give "
        "its path, from the current folder or absolute: --config=FILE:DATASET."
    )


def import_as_configs(folder: pathlib.Path) -> None:
    """Lets a user's config files import one another as `configs` from any folder.

    If there is no `configs` to import, the name means the package's own files, which
    are always there as `samg_jax.configs`.

    Args:
        folder: where the config file is.
    """
    if folder.absolute() != CONFIGS:  # The modules beside it are the package's.
        sys.path.append(str(folder.absolute().parent))
    if importlib.util.find_spec("configs") is None:
        sys.modules["configs"] = importlib.import_module("samg_jax.configs")


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
