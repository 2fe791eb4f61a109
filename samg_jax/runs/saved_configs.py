"""What config.json and a checkpoint's description say of their run, checked.

Both are read back by whatever resumes, forks from or evaluates a run. Each may have
been edited, copied from elsewhere, or damaged since it was written.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from samg_jax import checks, logs
from samg_jax.experiment import config_checks, setting_values

META = "meta/metadata"  # Where Orbax writes the JSON of a checkpoint.
CONFIG = "config.json"
# The same beside each checkpoint; of another name, because programs that look for
# runs look for the first one.
CONFIG_COPY = "config_copy.json"

# Fields that may change between the runs of one workdir: they change no result; the
# number of devices changes its rounding, as the number of seeds does.
FREE_FIELDS = (
    "logging.progress",
    "logging.tensorboard",
    "logging.wandb",
    "compilation_cache",
    "devices",
    "evaluation.threads",
    "dataset.family",
)

# What every description has, by phase; then what only newer ones have.
REQUIRED = {
    "format_version": int,
    "step": int,
    "offline_step": int,
    "data_source": str,
    "table_lengths": list,
}
OFFLINE = {
    "model_step": int,
    "complete": bool,
    "seeds": list,
    "config": dict,
    "observation_size": int,
    "action_size": int,
}
OPTIONAL = {
    "config": dict,
    "seeds": list,
    "data_fingerprint": str,
    "tables": dict,
}
TABLE = {"bytes": int, "rows": int, "crc32": int}
# What every config has.
CONFIG_FIELDS = {
    "algorithm": str,
    "env_id": str,
    "physics": str,
    "seed": int,
    "num_seeds": int,
    "dataset.name": str,
    "offline.updates": int,
    "online.steps": int,
    "evaluation.episodes": int,
    "guidance.weight": str,
    "agent": dict,
    "dataset": dict,
    "logging": dict,
}
TYPES = {
    int: "a whole number",
    str: "a text",
    list: "a list",
    dict: "an object",
    bool: "true or false",
}


def is_offline(meta: dict[str, Any], folder: str) -> bool:
    """Whether a description is that of an offline phase.

    Args:
        meta: the description, which may lack fields.
        folder: name of the folder with its checkpoint.
    """
    return folder == "offline" or "complete" in meta or "model_step" in meta


def fault(meta: Any, folder: str) -> str | None:
    """What is wrong with the description of a checkpoint, in words, if anything.

    Args:
        meta: as read from JSON.
        folder: name of the folder with the checkpoint.
    """
    if not isinstance(meta, dict):
        return f"{META} is not a JSON object"
    wanted = REQUIRED | (OFFLINE if is_offline(meta, folder) else {})
    wrong = _wrong_field(meta, wanted)
    wrong = wrong or _wrong_field(meta, OPTIONAL, optional=True)
    if wrong is None and not _whole_numbers(meta["table_lengths"], 2):
        wrong = "'table_lengths' is not two numbers"
    if wrong is None and not _whole_numbers(meta.get("seeds", [])):
        wrong = "'seeds' is not a list of numbers"
    if wrong is None and "config" in meta:
        wrong = config_fault(meta["config"])
    for name, entry in meta.get("tables", {}).items() if wrong is None else ():
        if not isinstance(entry, dict) or _wrong_field(entry, TABLE):
            wrong = f"'tables' does not describe {name!r}"
    return wrong and f"in {META}, {wrong}"


def config_fault(config: Any) -> str | None:
    """What is wrong with a config as it was read from JSON, in words, if anything."""
    if not isinstance(config, dict):
        return "the config is not a JSON object"
    flat = dict(config)
    for name in CONFIG_FIELDS:
        group, _, field = name.partition(".")
        inner = config.get(group)
        if field and isinstance(inner, dict) and field in inner:
            flat[name] = inner[field]
    return _wrong_field(flat, CONFIG_FIELDS)


def _wrong_field(
    values: dict[str, Any], wanted: Mapping[str, type], optional: bool = False
) -> str | None:
    for name, kind in wanted.items():
        if name not in values:
            if optional:
                continue
            return f"{name!r} is missing"
        value: Any = values[name]
        number = kind is int and isinstance(value, bool)
        negative = kind is int and isinstance(value, int) and value < 0
        if not isinstance(value, kind) or number or negative:
            return f"{name!r} is {str(value)[:40]!r} instead of {TYPES[kind]}"
    return None


def _whole_numbers(values: list, count: int | None = None) -> bool:
    whole = all(type(value) is int and value >= 0 for value in values)
    return whole and (count is None or len(values) == count)


def read_config(workdir: pathlib.Path, whole: bool = True) -> dict[str, Any]:
    """The content of a run's config.json.

    Args:
        workdir: of the run.
        whole: whether a config that lacks fields is refused.

    Raises:
        checks.UserError: it cannot be read or is not the config of a run.
    """
    path = workdir / CONFIG
    try:
        text = path.read_bytes().decode(errors="replace")
        config = json.loads(text)
    except FileNotFoundError:
        wrong = "is missing"
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}"
    except ValueError:
        wrong = "is empty" if not text.strip("\0 \n") else "is not JSON"
    else:
        wrong = config_fault(config)
        if wrong is None or (isinstance(config, dict) and not whole):
            return config_checks.completed(config)
        wrong = f"is not the config of a run: {wrong}"
    raise checks.UserError(f"{path} {wrong}. {_remedy(workdir)}")


def _copies(workdir: pathlib.Path) -> list[pathlib.Path]:
    """The copies of a run's config beside its checkpoints, the newest last."""
    copies = workdir.glob(f"o*line/[0-9]*/{CONFIG_COPY}")
    whole = [path for path in copies if path.parent.name.isdigit()]
    return sorted(whole, key=lambda path: path.stat().st_mtime)


def _remedy(workdir: pathlib.Path) -> str:
    copies = _copies(workdir)
    path = workdir / CONFIG
    if copies:
        return (
            "The checkpoint keeps a copy; the run goes on after: "
            f"cp {copies[-1]} {path}"
        )
    if any(workdir.glob("o*line/[0-9]*")):
        return (
            "The checkpoints beside it belong to the config that it held. Restore "
            "the file from a copy, or give another workdir=FOLDER."
        )
    return (
        "No checkpoint depends on it. Rename it and give the command again, or give "
        "another workdir=FOLDER."
    )


def check_same_config(
    fields: Mapping[str, Any], workdir: pathlib.Path, complete: bool = True
) -> None:
    """Refuses a workdir that holds a run of another config, or has lost its config.

    Args:
        fields: This run's config as nested dictionaries.
        workdir: that it shall work in.
        complete: whether the config is; else nothing is said of what is None in it.
    """
    begun = any(workdir.glob("o*line/[0-9]*"))
    if not (workdir / CONFIG).exists() and not begun:
        return  # Nothing is there yet.
    saved = read_config(workdir, whole=begun)
    different = differences(saved, fields, complete)
    if not different:
        return
    edited = _edited(saved, workdir)
    if edited:
        raise checks.UserError(edited)
    raise checks.UserError(
        f"The workdir {str(workdir)!r} holds a run of another config:\n"
        + "\n".join(f"  {line}" for line in different)
        + "\nA workdir is resumed by the same command. Give another one with "
        "workdir=FOLDER, or the same values."
    )


def _edited(saved: dict[str, Any], workdir: pathlib.Path) -> str | None:
    """Says that config.json is not as the newest checkpoint has it, if so."""
    copies = _copies(workdir)
    if not copies:
        return None
    try:
        kept = json.loads(copies[-1].read_bytes())
    except (OSError, ValueError):
        return None
    if config_fault(kept):
        return None
    path = workdir / CONFIG
    different = differences(config_checks.completed(kept), saved)
    if not different:
        return None
    return (
        f"{path} was edited since the checkpoint {copies[-1].parent} was saved:\n"
        + "\n".join(f"  {line}" for line in different)
        + "\nThe checkpoint keeps a copy; the run goes on, with the values before, "
        f"after: cp {copies[-1]} {path}"
    )


def check_kept(workdir: pathlib.Path, saved: dict[str, Any]) -> None:
    """Refuses a config.json that is not the config which the newest checkpoint keeps.

    For whatever believes a finished run's config.json. Says so in the log where no
    checkpoint keeps one, so that nothing can be compared.

    Args:
        workdir: of the run.
        saved: the content of its config.json.

    Raises:
        checks.UserError: the file was edited, or is another run's.
    """
    metas = sorted(workdir.glob(f"o*line/[0-9]*/{META}"))
    kept = [found for path in (*_copies(workdir), *metas) if (found := _kept(path))]
    if not kept:
        logs.LOGGER.warning(
            "No checkpoint in %s keeps the config of its run, so that config.json is "
            "believed as it stands.",
            workdir,
        )
    for one in kept:
        different = differences(config_checks.completed(one), saved)
        if different:
            raise checks.UserError(
                _edited(saved, workdir)
                or f"{workdir / CONFIG} is not the config with which its checkpoints "
                "were saved:\n"
                + "\n".join(f"  {line}" for line in different)
                + "\nRestore the file from a copy, or name other runs."
            )


def _kept(path: pathlib.Path) -> dict[str, Any] | None:
    """The config in a file beside or in a checkpoint, None where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if path.name != CONFIG_COPY:
        found = found.get("config") if isinstance(found, dict) else None
    return None if config_fault(found) else found


def check_same_run(
    fields: Mapping[str, Any], meta: dict[str, Any], folder: pathlib.Path
) -> None:
    """Refuses to go on from a checkpoint that the run of another config saved.

    Earlier versions wrote no config into online checkpoints; those are not checked
    here.

    Args:
        fields: This run's config as nested dictionaries.
        meta: description of the checkpoint.
        folder: of the phase.
    """
    if "config" not in meta:
        return
    different = differences(config_checks.completed(meta["config"]), fields)
    if different:
        raise checks.UserError(
            f"The checkpoint {folder / str(meta['step'])} was saved by a run of "
            f"another config than that of {folder.parent / CONFIG}:\n"
            + "\n".join(f"  {line}" for line in different)
            + "\nIt was copied here, or config.json was edited. Move that folder back "
            f"to its own run, or {_put_back(folder, meta)}."
        )


def may_differ(name: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a field may change between the runs of one workdir.

    Args:
        name: The dotted name.
        before: Dotted name -> value, of one run.
        after: The same of the other run.
    """
    if name == "dataset.name":
        # A file names the data; earlier versions kept the name after the colon.
        return bool(before.get("dataset.path") and after.get("dataset.path"))
    return name in FREE_FIELDS


def _put_back(folder: pathlib.Path, meta: dict[str, Any]) -> str:
    copy = folder / str(meta["step"]) / CONFIG_COPY
    if not copy.exists():
        return "give the config that it was saved with"
    return (
        f"put config.json back, by cp {copy} {folder.parent / CONFIG}, and give the "
        "values before"
    )


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], complete: bool = True
) -> list[str]:
    """The fields, with both values, in which two configs give other results.

    Args:
        before: The config from JSON.
        after: The config that is compared with it.
        complete: Whether what is None in `after` counts.
    """
    before = setting_values.flatten(before)
    after = setting_values.flatten(json.loads(json.dumps(after)))
    return [
        f"{name}: {before.get(name)!r} before, {after.get(name)!r} now"
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
        and not may_differ(name, before, after)
        and (complete or after.get(name) is not None)
    ]
