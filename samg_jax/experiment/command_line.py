"""Flags of all programs: one way to read them, mistakes are told in one line.

The fields of a config are flags, `--config.GROUP.NAME=VALUE`. They are read here and
not by the flags library, which adds up tuples that are given twice and ends in a
traceback at a misspelled name. If a flag is given more than once, the last one wins,
so that what a user appends to a script's flags counts.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
from absl import app, flags

from samg_jax import checks, logs, startup
from samg_jax.experiment import (
    config_files,
    field_reference,
    help_text,
    misspelled,
    setting_values,
)

load = config_files.load

CONFIG = misspelled.CONFIG
EXPLAIN = "explain"
# What a field looks like on the command line, in all spellings.
_FIELD = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)

_NAMED_ENV = re.compile(r"--?config\.env_id(=[^:]*)?$")
_OF_MODULE = (
    " An environment that a module of yours registers is named with the module: "
    "--config.env_id=MODULE:NAME-v0."
)

# Flags that we define belong to the program that calls.
flags.disclaim_key_flags()


class Experiment(NamedTuple):
    """What `--config` and its fields say.

    Attributes:
        config: with the fields set.
        given: fields that were set by flags -> their values in the config's file.
    """

    config: ml_collections.ConfigDict
    given: Mapping[str, Any]


class ExperimentFlag:
    """The flag `--config` with all of its fields; set by `parse`."""

    def __init__(self, about: str):
        flags.DEFINE_string(CONFIG, None, about)
        self.experiment: Experiment | None = None

    @property
    def value(self) -> ml_collections.ConfigDict:
        """The config of the command line."""
        return self.experiment.config

    @property
    def given(self) -> Mapping[str, Any]:
        """See `Experiment`."""
        return self.experiment.given


class _Integer(flags.IntegerParser):
    """Integers as people write them: 500000, 500_000 or 5e5."""

    def convert(self, argument: str | int) -> int:
        if isinstance(argument, int):
            return argument
        try:
            return setting_values.integer(argument)
        except ValueError as error:
            raise ValueError(f"it must be {setting_values.INTEGER}") from error


def define_integer(
    name: str, default: int | None, about: str, least: int | None = None
) -> flags.FlagHolder:
    """Defines an integer flag of a program, which may be written as 5e5.

    Args:
        name: of the flag.
        default: its value unless it is given.
        about: for `--help`.
        least: lowest value that is allowed.
    """
    parser = _Integer(lower_bound=least)
    return flags.DEFINE(
        parser, name, default, about, serializer=flags.ArgumentSerializer()
    )


def define_explain() -> flags.FlagHolder:
    """Defines `--explain`, which `parse` answers."""
    return flags.DEFINE_string(
        EXPLAIN,
        None,
        "Print the meaning, the default and the bounds of a field such as "
        "guidance.penalty, of a group such as guidance or suite, or of all; and exit.",
    )


def run(
    main: Callable[[list[str]], Any],
    experiment: ExperimentFlag | None = None,
    positional: bool = False,
) -> None:
    """Runs a program: reads its flags, calls `main`, and ends the process.

    Args:
        main: of the program.
        experiment: its flag `--config`, if it has one.
        positional: whether `main` takes arguments that are no flags.
    """
    # `python -m` finds a user's modules in the current folder; a script does not.
    with contextlib.suppress(FileNotFoundError):  # `startup.check` reports it.
        if not sys.flags.safe_path and not {"", os.getcwd()} & set(sys.path):
            sys.path.insert(0, os.getcwd())
    about = sys.modules[main.__module__].__doc__ or ""
    parser = functools.partial(
        parse,
        experiment=experiment,
        positional=positional,
        about=about,
    )
    with startup.output():
        app.run(main, flags_parser=parser)


def parse(
    argv: Sequence[str],
    experiment: ExperimentFlag | None = None,
    positional: bool = False,
    about: str = "",
) -> list[str]:
    """Reads the flags of a command line; returns the program and what is no flag.

    Ends the program with one line if something is unknown or of the wrong kind, and
    with an answer at `--help` and `--explain`. Libraries are looked at last: until
    then nothing is imported that takes long.

    Args:
        argv: The program and its arguments.
        experiment: The flag `--config` of the program, if it has one.
        positional: Whether the program takes arguments that are no flags.
        about: The docstring of the program, for `--help`.
    """
    logs.quiet_libraries()
    with checks.program():
        startup.check()
        name, *arguments = argv
        try:
            arguments = flags.FLAGS.read_flags_from_files(arguments, force_gnu=False)
        except flags.Error as error:
            raise checks.UserError(str(error).removeprefix("ERROR:: ")) from error
        answer(arguments, experiment, about)
        known: list[str] = []
        misspelled.refuse_dashes(arguments)
        if experiment:
            misspelled.refuse(arguments, _config_of)
            experiment.experiment, arguments = read(arguments)
            known = list(setting_values.flatten(experiment.value.to_dict()))
        left = parse_plain([name, *arguments], known)
        misspelled.refuse_empty()
        if len(left) > 1 and not positional:
            raise misspelled.no_flags(left[1:])
        startup.check_libraries()
    return left


def answer(
    arguments: Sequence[str],
    experiment: ExperimentFlag | None,
    about: str,
) -> None:
    """Prints what `--help` or `--explain` asks for, and ends the program."""
    for place, argument in enumerate(arguments):
        if argument == "--":
            return
        name, sign, value = argument.partition("=")
        if not name.startswith("-"):
            continue
        name = name.lstrip("-")
        if name in misspelled.HELP:
            has_config = experiment is not None
            print(help_text.text(about, misspelled.own_flags(), has_config))
            sys.exit(0)
        if name == EXPLAIN and name in flags.FLAGS:
            value = value if sign else "".join(arguments[place + 1 : place + 2])
            print(field_reference.explain(value))
            sys.exit(0)


def parse_plain(argv: list[str], fields: Sequence[str] = ()) -> list[str]:
    """Reads all flags but the config's; returns the program and what is no flag.

    Args:
        argv: of the program.
        fields: of the config, which are proposed for an unknown flag.
    """
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        raise misspelled.unknown(error.flagname, fields) from error
    except flags.Error as error:
        text = re.sub(r"^flag (?=--)", "", str(error))
        missing = re.search(r"Flag --(\w+) must have a value", text)
        if missing:
            about = flags.FLAGS[missing[1]].help
            text = f"--{missing[1]} is missing, which must be given: {about}"
        raise checks.UserError(
            f"{text.rstrip('.')}. Correct that; --help says what there is."
        ) from error


def refuse_unknown(arguments: Sequence[str]) -> None:
    """Refuses the first argument that is no flag of the program, nor a field."""
    for argument in arguments:
        if argument == "--":
            return
        name = argument.lstrip("-").partition("=")[0]
        known = name in flags.FLAGS or name.removeprefix("no") in flags.FLAGS
        if argument.startswith("--") and not known and not _FIELD.fullmatch(argument):
            raise misspelled.unknown(name)


def read(arguments: Sequence[str]) -> tuple[Experiment, list[str]]:
    """The experiment that arguments describe, and the arguments that do not."""
    config = _config_of(arguments)
    fields = config.to_dict()
    defaults = setting_values.flatten(fields)
    chosen: dict[str, str] = {}
    left, queue = [], list(arguments)
    while queue:
        argument = queue.pop(0)
        if argument == "--":
            left += [argument, *queue]
            break
        field = _FIELD.fullmatch(argument)
        if not field:
            left.append(argument)
            continue
        negated, name, text = field.groups()
        misspelled.check_field(name, fields)
        is_switch = _is_switch(config, name)
        if negated:
            if not is_switch or text is not None:
                raise checks.UserError(
                    f"{argument} is no switch. `no` before a name turns a switch off; "
                    f"config.{name} is {defaults.get(name)!r}. Set config.{name}=VALUE."
                )
            text = "false"
        elif text is None:
            text = _next(queue, name, is_switch)
        chosen.pop(name, None)  # The order is then that of the last ones.
        chosen[name] = text
    for name, text in chosen.items():
        setting_values.set_field(config, name, text)
    return Experiment(config, {name: defaults.get(name) for name in chosen}), left


def _config_of(arguments: Sequence[str]) -> ml_collections.ConfigDict:
    return load(*_file(arguments).split(":", 1))


def _file(arguments: Sequence[str]) -> str:
    """The file and dataset of the last `--config`."""
    found = None
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        name, sign, text = argument.partition("=")
        if name.lstrip("-") == CONFIG and name.startswith("-"):
            found = text if sign else "".join(arguments[place + 1 : place + 2])
            if found.startswith("--"):
                raise checks.UserError(
                    "--config is given without a value. Write "
                    f"--{config_files.EXAMPLE}, for example."
                )
    if found is None:
        refuse_unknown(arguments)
        fields = any(_FIELD.fullmatch(argument) for argument in arguments)
        given = [argument for argument in arguments if _NAMED_ENV.match(argument)]
        raise checks.UserError(
            "--config is missing. It names the file of an experiment, and a dataset "
            "after a colon"
            + ("; its fields, which are given here, are those of that file" * fields)
            + ". Write, for example, python -m samg_jax.train "
            f"--{config_files.EXAMPLE}." + _OF_MODULE * bool(given)
        )
    return found


def _next(queue: list[str], name: str, is_switch: bool) -> str:
    """Takes the value of a field from the arguments behind it."""
    behind = queue[0] if queue else "--"
    if is_switch:
        if behind.lower() in ("true", "false"):
            return queue.pop(0)
        return "true"
    if behind.startswith("--"):
        raise checks.UserError(
            f"config.{name} is given without a value. Write config.{name}=VALUE."
        )
    return queue.pop(0)


def _is_switch(config: ml_collections.ConfigDict, name: str) -> bool:
    *parents, leaf = name.split(".")
    for parent in parents:
        config = config[parent]
    return config.get_type(leaf) is bool


def check(argv: Sequence[str]) -> None:
    """Raises `checks.UserError` where `--config=FILE:DATASET` or a field is wrong."""
    if any(argument.startswith("--config") for argument in argv):
        read(argv)
