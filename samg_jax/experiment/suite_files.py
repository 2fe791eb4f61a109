"""A suite as its config file and the command's `--set` say: read and checked."""

from __future__ import annotations

import ast
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import ml_collections

from samg_jax import checks, settings
from samg_jax.experiment import config_files, setting_values, suite_spec

FOLDER = "suites"  # Below that of the config files.
OF_CONFIGS = "config."
# Field of a suite for what `--set=config.FIELD` changes; it wins over the file's.
GIVEN = "given"


def load(
    name: str, configs: pathlib.Path, given: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """Returns the suite of a name or file, with what was set by hand.

    Args:
        name: of a file in `configs/suites`, or a path.
        configs: folder of the config files.
        given: such as `num_seeds=2` or `config.online.steps=1000`.

    Raises:
        checks.UserError: where there is no such suite, field or value.
    """
    path = find(name, configs)
    suite = config_files.call(path, configs=configs)
    for text in given:
        change(suite, text)
    check(suite, path)
    return suite


def known(configs: pathlib.Path) -> list[str]:
    """The names of the suites in a folder of config files."""
    files = (path.stem for path in (configs / FOLDER).glob("*.py"))
    return sorted(stem for stem in files if stem not in ("__init__", "base"))


def check_given(name: str | None, out: str | None, configs: pathlib.Path) -> None:
    """Raises UserError if there is no such suite, or a setting is missing."""
    if name:
        find(name, configs)
    for setting, value in (("suite", name), ("out", out)):
        if not value:
            raise checks.UserError(
                f"{setting} is empty. It must be given. Write, for example, "
                "suite=smoke and out=runs/smoke. The suites are "
                f"{', '.join(known(configs)) or 'none'}, and your own files."
            )


def find(name: str, configs: pathlib.Path) -> pathlib.Path:
    """The file of a suite; raises UserError if there is none."""
    folder = configs / FOLDER
    for path in (folder / f"{name}.py", pathlib.Path(name).expanduser()):
        if os.path.isfile(path):  # False also for a name that is too long.
            return path
    names = known(configs)
    hint = checks.hint(name, names)
    raise checks.UserError(
        f"There is no suite {name!r}. {hint}Known in {str(folder)!r} are "
        f"{', '.join(names) or 'none'}; a path of another file is allowed too. Write, "
        "for example, suite=smoke."
    )


def change(suite: ml_collections.ConfigDict, text: str) -> None:
    """Sets a field of the suite, in place; of `config.`, one of all experiments."""
    name, sign, given = text.partition("=")
    if name.startswith(OF_CONFIGS) and sign:
        with suite.unlocked():
            suite[GIVEN] = (*suite.get(GIVEN, ()), text.removeprefix(OF_CONFIGS))
        return
    fields = setting_values.flatten(suite.to_dict())
    fields.pop(GIVEN, None)
    if not sign or name not in fields:
        hint = checks.hint(name, fields)
        raise checks.UserError(
            f"set={text} names no field of a suite. {hint}Allowed are FIELD=VALUE "
            f"with {', '.join(fields)}, and config.FIELD=VALUE for all experiments. "
            "Write, for example, set=num_seeds=2."
        )
    value = read_value(given)
    if isinstance(value, tuple):
        suite.update_from_flattened_dict({name: value})
    elif name == "sweep":  # Commas are between settings, and between their values.
        suite.sweep = tuple(re.split(r",\s*(?=[\w.]+=)", given))
    elif isinstance(fields[name], tuple) or name == "datasets":
        names = tuple(part.strip() for part in given.split(","))
        suite.update_from_flattened_dict({name: names})
    else:
        try:
            setting_values.assign(suite, name, setting_values.unquoted(given))
        except ValueError as error:
            raise checks.UserError(
                f"set={text} has a value of the wrong kind: it must be {error}. It "
                f"was {fields[name]!r} before."
            ) from error


def read_value(text: str) -> Any:
    """Returns the Python value that a text stands for, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def check(suite: ml_collections.ConfigDict, path: pathlib.Path) -> None:
    """Raises UserError for a suite without jobs, or with a count that cannot be."""
    for name in ("datasets", "algorithms", "variants"):
        values = suite[name] or ()
        if not values or len(set(values)) < len(values):
            raise checks.UserError(
                f"{name} of the suite {str(path)!r} is {tuple(values)}. It must name "
                f"at least one, each once. Change the file, or give set={name}=A,B."
            )
    fields = suite.to_dict()
    settings.check(suite_spec.Suite, fields, "")
    settings.check(suite_spec.Budgets, fields["budgets"], "budgets.")
    pattern = suite.dataset_path
    if pattern is not None and "{dataset}" not in pattern and len(suite.datasets) > 1:
        raise checks.UserError(
            f"dataset_path of the suite {str(path)!r} is {pattern!r}, one file for "
            f"{len(suite.datasets)} datasets. It must contain {{dataset}}, for which "
            "each one's name is put. Change it."
        )
