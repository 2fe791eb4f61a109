"""Finished runs as rows of the tidy table."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
import pandas as pd

from samg_jax import checks
from samg_jax.experiment import setting_values
from samg_jax.results import run_files, run_setups, tidy_table
from samg_jax.runs import checkpoints, lifecycle, lost_checkpoints, saved_configs

# Fields of a config that a report reads.
NEEDED: dict[str, Any] = {
    "algorithm": str,
    "env_id": str,
    "physics": str,
    "dataset.name": str,
    "dataset.path": (str, type(None)),
    "evaluation.episodes": int,
    "guidance.weight": str,
    "online.data": str,
    "online.steps": int,
}


def read(
    workdirs: Sequence[pathlib.Path],
) -> tuple[pd.DataFrame, run_setups.Setups, str]:
    """The rows of finished runs, not yet checked, their configs, and a note.

    Runs with the same fields and different seeds are one variant. Otherwise only the
    first keeps its name; the names of the others end with that of their workdir. An
    offline phase that several runs share is there once; the note names those that the
    runs do not share although their seeds are the same.

    Raises:
        checks.UserError: A run is missing, damaged or incomplete, or two runs cannot
            be in one table.
    """
    frames, setups, sources, taken = [], {}, {}, {}
    for workdir in workdirs:
        config, rows = read_run(workdir)
        dataset = dataset_of(config)
        source = rows.pop("source").iloc[0]
        if sources.setdefault(dataset, source) != source:
            raise checks.UserError(
                f"The runs differ in data_source on {dataset!r}: {sources[dataset]} "
                f"and {source}. Scores stand side by side only if the data are the "
                "same. Report them separately."
            )
        flat = setting_values.flatten(config.to_dict())
        online = rows["phase"] == tidy_table.ONLINE
        key = (config.algorithm, variant(config), dataset)
        if not online.any():
            key = (config.algorithm, tidy_table.OFFLINE, dataset)
        fields = run_setups.recorded(flat, config.algorithm)
        seeds = set(rows["seed"])
        first, known = taken.setdefault(key, (fields, set()))
        alike = first == fields and not seeds & known
        if not alike and not online.any():
            raise checks.UserError(
                f"{str(workdir)!r} is a second run of {key[0]} on {dataset!r} "
                "without fine-tuning, with the same seeds or other fields. A report "
                "shows one pre-training of an algorithm. Report them separately."
            )
        if not alike:
            name = f"{key[1]} {workdir.name}"
            if (key[0], name, dataset) in taken:
                name = f"{key[1]} {workdir}"
            named = rows["variant"].str.replace(key[1], name, n=1, regex=False)
            rows["variant"] = named.where(online, rows["variant"])
            key = (config.algorithm, name, dataset)
            taken[key] = fields, seeds
        known |= seeds
        setups.setdefault(key, flat)
        if not online.all():
            setups.setdefault((config.algorithm, tidy_table.OFFLINE, dataset), flat)
        frames.append(rows)
    table = pd.concat(frames, ignore_index=True)
    offline = table["phase"] == tidy_table.OFFLINE
    keys = [*tidy_table.RUN, "phase", "step"]
    note = _separate(table[offline], keys)
    return table[~(offline & table.duplicated(keys))], setups, note


def _separate(offline: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on offline phases of the same seeds with different scores."""
    first = offline.groupby(keys)["return"].transform("first")
    apart = offline[~np.isclose(offline["return"], first, equal_nan=True)]
    if apart.empty:
        return ""
    tasks = sorted(set(apart["algorithm"] + " on " + apart["dataset"]))
    return (
        f"The runs of {', '.join(tasks)} were pre-trained separately, to different "
        "scores. The offline scores are those of the first; differences by seed "
        "include those of the pre-training."
    )


def read_run(workdir: pathlib.Path) -> tuple[ml_collections.ConfigDict, pd.DataFrame]:
    """A finished run's config, and its rows with a column `source`, its data in words.

    Raises:
        checks.UserError: No run is there, or it is not complete.
    """
    config = read_config(workdir)
    saved_configs.check_kept(workdir, config.to_dict())
    phase = tidy_table.ONLINE if config.online.steps else tidy_table.OFFLINE
    meta = _meta(workdir / phase)
    done = meta is not None and (
        meta["step"] == config.online.steps if config.online.steps else meta["complete"]
    )
    if meta is None and lost_checkpoints.phase(workdir, config.to_dict()) == phase:
        raise checks.UserError(
            f"There is no checkpoint in {str(workdir / phase)!r}, though the tables go "
            "on to where one is due. It says whether the run is complete, and on which "
            "data. If it was deleted or moved, restore that folder from a copy."
        )
    if not done:
        raise checks.UserError(
            f"The run in {str(workdir)!r} is not complete; only complete runs are "
            "compared. The command that began it goes on where it stopped."
        )
    rows = tidy_table.of_run(
        workdir,
        algorithm=config.algorithm,
        variant=variant(config),
        dataset=dataset_of(config),
        data_source=tidy_table.kind_of(meta["data_source"]),
        physics=config.physics,
    )
    if not (rows["phase"] == phase).any():
        reason = f"it has no row of the phase {phase}"
        raise run_files.damaged(workdir / "metrics.csv", reason)
    return config, rows.assign(source=meta["data_source"])


def _meta(folder: pathlib.Path) -> dict[str, Any] | None:
    """The description of the newest checkpoint; None if there is none."""
    if not folder.is_dir():  # It would be created.
        return None
    store = checkpoints.Store(folder)
    try:
        return store.meta() if store.latest() is not None else None
    finally:
        store.close()


def read_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The config of the run in a workdir.

    Raises:
        checks.UserError: No run is there, or its config is damaged.
    """
    path = workdir / "config.json"
    if not path.is_file():
        below = sorted(found.parent for found in workdir.glob("*/config.json"))
        hint = f" Runs are below it: {', '.join(map(str, below[:3]))}." if below else ""
        raise checks.UserError(
            f"There is no run in {str(workdir)!r}: it has no config.json.{hint} Name "
            "the workdir of a run of samg_jax.train, or the folder of a suite "
            "that has results."
        )
    found = load_json(path)
    if not isinstance(found, dict) or not fits(found):
        raise checks.UserError(
            f"{path} is not the config of a run: it is empty, cut or something else. "
            "It must be as the run wrote it. Restore the file, or name other runs."
        )
    return ml_collections.ConfigDict(found)


def load_json(path: pathlib.Path) -> Any:
    """The content of a JSON file; None if it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def fits(config: dict[str, Any]) -> bool:
    """Whether a config has the fields that a report reads."""
    flat = setting_values.flatten(config)
    return all(
        name in flat and isinstance(flat[name], kind) for name, kind in NEEDED.items()
    )


def variant(config: ml_collections.ConfigDict) -> str:
    """The variant's name, with its preset unless that is the paper's."""
    preset = config.guidance.get("weight_preset", "paper")
    named = config.guidance.weight == "cvae" and preset != "paper"
    return lifecycle.variant(config.to_dict()) + (f" {preset}" if named else "")


def dataset_of(config: ml_collections.ConfigDict) -> str:
    """The name of the data: that of a file without its ending, or of a dataset."""
    path = config.dataset.path
    return pathlib.Path(path).stem if path else config.dataset.name
