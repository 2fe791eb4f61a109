"""Networks, budgets and hyperparameters of the rows of a suite."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from samg_jax import durable
from samg_jax.experiment import setting_values, unread_fields
from samg_jax.results import report_tables, tidy_table
from samg_jax.results.report_tables import NONE, Table

UNKNOWN = "not recorded"
JOBS = "jobs"
OFFLINE = "offline"
FILE = "configs.json"  # The configs of all rows; the report writes and reads it.
WIDTHS = "hidden_dims"  # Ends the name of a field that holds a network's widths.
# The parts of a config that decide scores. The rest says where and how fast a job ran.
PARTS = ("agent.", "dataset.", "guidance.", "offline.", "online.", "evaluation.")
ASIDE = (
    "dataset.name",
    "dataset.path",
    "evaluation.threads",
    "offline.checkpoint_every",
    "offline.log_every",
    "offline.restore",
    "offline.updates",
    "online.checkpoint_every",
    "online.log_every",
    "online.steps",
)

LENGTHS = ("offline.updates", "online.steps")

Key = tuple[str, ...]  # Algorithm, variant and dataset.
Setups = Mapping[Key, Mapping[str, Any]]


def read(folder: pathlib.Path) -> dict[Key, dict[str, Any]]:
    """Configs of the suite's jobs, flat, as far as the folder has them.

    A job is described by its `job.json`, or by the `config.json` of its run. If a row
    was trained as several jobs of other seeds, the first one counts: a suite gives all
    seeds of a row the same config. A folder without jobs may have `FILE` instead.
    """
    found = _kept(folder / FILE)
    jobs = _of_jobs(folder)
    return found | jobs


def _of_jobs(folder: pathlib.Path) -> dict[Key, dict[str, Any]]:
    found = {}
    for place in sorted((folder / JOBS).glob("*/*/*/*")):
        algorithm, dataset, _, variant = place.relative_to(folder / JOBS).parts
        job = durable.read_json(place / "job.json") or {}
        config = job.get("config")
        if not isinstance(config, dict):
            config = durable.read_json(place / "complete" / "config.json")
        if config is not None:
            names = {"algorithm": algorithm, "variant": variant, "dataset": dataset}
            key = tuple(str(job.get(name, own)) for name, own in names.items())
            found.setdefault(key, setting_values.flatten(config))
    return found


def _kept(path: pathlib.Path) -> dict[Key, dict[str, Any]]:
    """The configs of a file that `text` made; a damaged row is missing."""
    rows = (durable.read_json(path) or {}).get("rows")
    found = {}
    for row in rows if isinstance(rows, list) else ():
        row = row if isinstance(row, Mapping) else {}
        if isinstance(row.get("config"), Mapping):
            key = tuple(str(row.get(name, "")) for name in tidy_table.VARIANT)
            found[key] = dict(row["config"])
    return found


def note(folder: pathlib.Path) -> str:
    """What the folder's `FILE` says on the origin of its configs; may be empty."""
    said = (durable.read_json(folder / FILE) or {}).get("note", "")
    return said if isinstance(said, str) else ""


def text(setups: Setups, said: str = "") -> str:
    """Content of `FILE`: a line per row, with networks, lengths and `decisive` fields.

    Paths of the machine are left out, so that the file can be published.

    Args:
        setups: From `read`.
        said: From `note`; kept, so that a copy of the file has it, too.
    """
    rows = []
    for key, config in sorted(setups.items()):
        names = dict(zip(tidy_table.VARIANT, key, strict=True))
        rows.append(json.dumps({**names, "config": recorded(config, key[0])}))
    lines = ",\n".join(rows)
    head = f'"note": {json.dumps(said)},\n' if said else ""
    return f'{{{head}"rows": [\n{lines}\n]}}\n'


def of(setups: Setups, algorithm: str, variant: str, dataset: str) -> Mapping[str, Any]:
    """Config of a row, empty if it is not recorded.

    A swept variant is called `VARIANT FIELD=VALUE ...`; it has the config of `VARIANT`.
    """
    while variant and (algorithm, variant, dataset) not in setups:
        variant = variant.rpartition(" ")[0]
    return setups.get((algorithm, variant, dataset), {})


def networks(config: Mapping[str, Any]) -> str:
    """The agent's networks in words, such as `actor 256x256`; empty if unknown."""
    parts = []
    for field, widths in sorted(config.items()):
        name = field.removeprefix("agent.")
        if field == name or not name.endswith(WIDTHS) or widths is None:
            continue
        name = name.removesuffix(WIDTHS).strip("_").replace("_", " ")
        parts.append(f"{name} {'x'.join(map(str, widths))}".strip())
    return ", ".join(parts)


def add(frame: pd.DataFrame, setups: Setups) -> pd.DataFrame:
    """The frame with the columns `networks` and `warmup`, the steps without updates.

    They are empty and 0 where the config is not recorded.
    """
    rows = list(frame[tidy_table.VARIANT].itertuples(index=False, name=None))
    configs = {row: of(setups, *row) for row in set(rows)}
    names = {row: networks(config) for row, config in configs.items()}
    steps = {row: config.get("online.warmup_steps") for row, config in configs.items()}
    return frame.assign(
        networks=[names[row] for row in rows], warmup=[steps[row] or 0 for row in rows]
    )


def budgets(frame: pd.DataFrame, outcomes: pd.DataFrame, setups: Setups) -> Table:
    """Table of the lengths and networks of every row."""
    rows = []
    for (dataset, algorithm), own in frame.groupby(["dataset", "algorithm"]):
        tuned = outcomes[
            (outcomes["dataset"] == dataset) & (outcomes["algorithm"] == algorithm)
        ]
        for variant in tidy_table.in_order(own["variant"]):
            steps = tuned.loc[tuned["variant"] == variant, "steps"].max()
            config = of(setups, algorithm, variant, dataset)
            online = np.isfinite(steps)
            phase = "online" if online else "offline"
            updates = own.loc[own["variant"] == variant, "updates"].max()
            per_step = _value(config, "online.updates_per_step")
            rows.append(
                {
                    "dataset": str(dataset),
                    "algorithm": str(algorithm),
                    "variant": variant,
                    "offline updates": UNKNOWN if updates < 0 else f"{updates:,}",
                    "online steps": f"{steps:,.0f}" if online else NONE,
                    "updates per step": per_step if online else NONE,
                    "batch": _value(config, f"{phase}.batch_size"),
                    "networks": networks(config) or UNKNOWN,
                }
            )
    return report_tables.of_rows(
        "budgets",
        "Budgets and networks",
        rows,
        "Updates and steps are those of the last evaluation in the results. The other "
        "columns come from the configs of the jobs. Rows with different updates, steps "
        "or networks are never pooled.",
        tidy_table.disclaimer(frame),
    )


def hyperparameters(frame: pd.DataFrame, setups: Setups) -> Table:
    """Table of what all variants of an algorithm share, and what each one adds."""
    rows = []
    for (dataset, algorithm), own in frame.groupby(["dataset", "algorithm"]):
        configs = {
            variant: decisive(of(setups, algorithm, variant, dataset), algorithm)
            for variant in tidy_table.in_order(own["variant"])
        }
        _drop_pre_training(configs)
        if not any(configs.values()):
            rows.append((str(dataset), str(algorithm), "all", UNKNOWN))
            continue
        first = next(config for config in configs.values() if config)
        shared = {
            field: value
            for field, value in first.items()
            if all(own.get(field) == value for own in configs.values() if own)
        }
        rows.append((str(dataset), str(algorithm), "all", words(shared)))
        for variant, config in configs.items():
            extra = {k: v for k, v in config.items() if k not in shared}
            text = words(extra) if config else UNKNOWN
            if text:
                rows.append((str(dataset), str(algorithm), variant, text))
    return Table(
        name="hyperparameters",
        title="Hyperparameters",
        header=("dataset", "algorithm", "variant", "fields of the config"),
        rows=tuple(rows),
        note=(
            "The row all has the fields that every variant shares. The rows below it "
            "have the fields in which a variant differs. Fields that a run does not "
            "read are left out. The pre-training (offline) has a row only if its "
            "fields differ from those of every variant."
        ),
        disclaimer=tidy_table.disclaimer(frame),
    )


def words(fields: Mapping[str, Any]) -> str:
    """Fields of a config as `name=value, ...`."""
    return ", ".join(f"{name}={_plain(value)}" for name, value in fields.items())


def decisive(config: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """The fields that decide scores, except networks, lengths and unread fields.

    Args:
        config: A flat config.
        algorithm: The name of the algorithm that has it.
    """
    fields = {**config, "algorithm": algorithm}
    return {
        field: value
        for field, value in sorted(config.items())
        if field.startswith(PARTS)
        and field not in ASIDE
        and value is not None
        and not _is_widths(field)
        and not unread_fields.of_fields(field, fields)
    }


def recorded(config: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """`decisive`, with networks and lengths."""
    return decisive(config, algorithm) | {
        field: value
        for field, value in sorted(config.items())
        if value is not None and (_is_widths(field) or field in LENGTHS)
    }


def _is_widths(field: str) -> bool:
    return field.startswith("agent.") and field.endswith(WIDTHS)


def _drop_pre_training(configs: dict[str, dict[str, Any]]) -> None:
    """Remove the row `offline` if a variant has all of its fields and values."""
    offline = configs.pop(OFFLINE, None)
    if offline is None:
        return
    for own in configs.values():
        if all(field in own and own[field] == offline[field] for field in offline):
            return
    configs[OFFLINE] = offline


def _value(config: Mapping[str, Any], field: str) -> str:
    return _plain(config[field]) if field in config else UNKNOWN


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_plain, value))})"
    return str(value)
