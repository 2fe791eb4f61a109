"""Names of flags and fields that there are not, and what was probably meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags

from samg_jax import checks
from samg_jax.experiment import config_files, setting_values

CONFIG = "config"
CLOSE = 0.65  # How alike names are at least, for one to be proposed.
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
HELP = ("help", "helpfull", "helpshort", "helpxml")


def unknown(name: str, fields: Sequence[str] = ()) -> checks.UserError:
    """The error of a flag that a program does not have."""
    own = own_flags()
    hint = checks.hint(name, [*own, "help"], "--", cutoff=CLOSE)
    field = name.removeprefix("no")
    nearest = [known for known in (name, field) if known in fields]
    nearest = nearest[:1] or [one for one in fields if one.endswith(f".{name}")]
    leaf = name.rpartition(".")[2]
    if leaf != name and leaf in own:  # Of a program without a config.
        hint = f"Did you mean --{leaf}? "
    if nearest:
        every = " or ".join(f"--config.{known}" for known in nearest[:3])
        hint = f"Did you mean {every}? "
    elif not hint:
        top = [known for known in fields if "." not in known]
        hint = checks.hint(name, top, "--config.", cutoff=CLOSE)
        hint = hint or checks.hint(name, fields, "--config.", cutoff=0.8)
    listed = ", ".join(f"--{known}" for known in own)
    return checks.UserError(
        f"Unknown flag --{name}. {hint}This program has {listed}. Correct the name; "
        "--help says what they mean."
    )


def refuse_empty() -> None:
    """Refuses an empty text for a flag, as of a variable of the shell without value."""
    for name in own_flags():
        flag = flags.FLAGS[name]
        if flag.present and flag.value == "" and flag.default != "" and name != CONFIG:
            raise checks.UserError(
                f"--{name} is given, but empty. Write --{name}=VALUE, or leave it out."
            )


def refuse_dashes(arguments: Sequence[str]) -> None:
    """Refuses flags that begin with a dash which an editor has put for `--`."""
    for argument in arguments:
        if argument == "--":
            return
        bare = argument.lstrip(f"-{DASHES}")
        # A file of that name is no flag.
        if argument[:1] in DASHES and _is_own(bare):
            raise checks.UserError(
                f"{argument[:1]!r} begins an argument, a dash that is no hyphen; "
                f"editors put it for two. Write --{bare}."
            )


def no_flags(arguments: Sequence[str]) -> checks.UserError:
    """The error of arguments that are no flags, for a program that has only flags."""
    meant = [argument for argument in arguments if _is_own(argument)]
    given = f"Unknown arguments: {' '.join(arguments)}. "
    if meant:  # Not repeated: the fields in it would be spelled as flags.
        given = f"An argument lacks its dashes. Did you mean --{meant[0]}? "
    return checks.UserError(
        f"{given}All that this program takes are flags. Write them as --NAME=VALUE, a "
        "switch as --NAME or --noNAME."
    )


def _is_own(argument: str) -> bool:
    """Whether an argument would be a flag or a field, with dashes before it."""
    name = argument.partition("=")[0]
    return name in own_flags() or name.startswith(f"{CONFIG}.")


def own_flags() -> list[str]:
    """The names of the flags that our programs define in this process."""
    return sorted(
        flag.name
        for module, defined in flags.FLAGS.flags_by_module_dict().items()
        if module.startswith("samg_jax.") or module == sys.argv[0]
        for flag in defined
    )


def refuse(
    arguments: Sequence[str],
    read: Callable[[Sequence[str]], ml_collections.ConfigDict],
) -> None:
    """Refuses `--confg` and `--confg.seed`, before a missing `--config` is told.

    Args:
        arguments: Of a command line.
        read: Reads the config that they name.
    """
    for argument in arguments:
        if argument == "--":
            return
        match = re.match(r"--?(\w+)(?=[.=]|$)(\.[\w.]*)?", argument)
        if not match or match[1] in (CONFIG, f"no{CONFIG}"):
            continue
        name, rest = match[1], match[2] or ""
        if rest:
            _check_meant(f"{name}{rest}", argument, lambda: read(arguments))
        if rest or (name not in flags.FLAGS and checks.hint(name, [CONFIG])):
            hint = checks.hint(name, [CONFIG])
            proposed = f"--{CONFIG}{rest}" if hint else f"--{CONFIG}.{name}{rest}"
            raise checks.UserError(
                f"Unknown flag --{name}{rest}. Did you mean {proposed}? A config and "
                f"its fields are given as in --{config_files.EXAMPLE} "
                "--config.online.steps=1000."
            )


def _check_meant(
    name: str, argument: str, read: Callable[[], ml_collections.ConfigDict]
) -> None:
    """Refuses `--offline.steps`, which is no field of the config that is given either.

    Where no config can be read, the groups that all have are looked at.
    """
    group = name.partition(".")[0]
    try:
        config = read().to_dict()
    except checks.UserError:
        config = config_files.load("awac_samg").to_dict()
        del config["agent"]  # Its fields are those of one algorithm.
    if group not in config:
        return
    try:
        check_field(name, config)
    except checks.UserError as error:
        flag = argument.partition("=")[0]
        raise checks.UserError(
            f"Unknown flag {flag}. Fields are given as --config.GROUP.NAME=VALUE. "
            f"{error}"
        ) from error


def hint_at(
    name: str, part: str, path: str, level: Any, config: Mapping[str, Any]
) -> str:
    """The hint at what was meant by a field that there is not.

    Args:
        name: The dotted field.
        part: The part of it that is unknown.
        path: What stands before the part, such as `config.online`.
        level: The group of that path.
        config: The whole config.
    """
    own, leaf = own_flags(), name.rpartition(".")[2]
    if leaf in (*own, *HELP):
        return f"Did you mean --{leaf}? It is a flag of the program, not of a config. "
    fields = setting_values.flatten(config)
    if hint := checks.hint(name, fields, "config.", cutoff=0.85):
        return hint
    if isinstance(level, Mapping):
        hint = checks.hint(part, level, f"{path}.", cutoff=0.75)
        if hint:
            return hint
    known = [
        field
        for field in fields
        if checks.hint(leaf, [field.rpartition(".")[2]], cutoff=CLOSE)
    ]
    hint = checks.hint(name, known, "config.", cutoff=0.0)
    return hint or checks.hint(name, own, "--", cutoff=0.8)


def check_field(name: str, config: Mapping[str, Any]) -> None:
    """Raises UserError for a dotted field that the config does not have."""
    level, path = config, "config"
    for part in name.split("."):
        if isinstance(level, Mapping) and part in level:
            level, path = level[part], f"{path}.{part}"
            continue
        hint = hint_at(name, part, path, level, config)
        has = "is a single value"
        if isinstance(level, Mapping):
            has = f"has the fields {', '.join(sorted(level))}"
        raise checks.UserError(
            f"Unknown field config.{name}. {hint}{path} {has}. Correct the name; "
            "--dry_run prints all fields."
        )
