"""An experiment from its config to its closing table: offline, freeze + fit, online."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from samg_jax import checks
from samg_jax.training import (
    bounds,
    checkpoints,
    compilation,
    devices,
    evaluation,
    finetuning,
    forking,
    logs,
    metrics,
    own_weights,
    pretraining,
    runs,
    sampling,
    unread,
    validation,
    wandb_events,
)
from samg_jax.training import parts as parts_lib
from samg_jax.training.parts import Parts
from samg_jax.training.runs import Plan, Run

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


def run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    given: Mapping[str, Any] | None = None,
) -> Run:
    """Runs an experiment, or what is left of it, in its workdir; returns the run.

    Args:
        config: of the experiment; completed in place.
        workdir: where everything is written.
        given: fields that the user has set -> the values that they would have
            otherwise; those that the run does not read are warned of.

    Raises:
        checks.UserError: before any compute is spent, if config, data, environment or
            checkpoint cannot be used.
        data.download.DownloadError: where a D4RL file is missing and cannot be had.
    """
    parts = prepare(config, workdir)
    idle = unread.check(config, given or {})
    with contextlib.ExitStack() as stack:
        stack.enter_context(compilation.matmul_precision(config.matmul_precision))
        stack.enter_context(logs.to_file(workdir / "log.txt"))
        if idle:
            logs.LOGGER.warning(idle)
        this, plan = start(config, parts, workdir, stack)
        if plan.online_meta is None:
            pretrained = pretraining.run_offline(this, plan)
        else:
            pretrained = None
        if config.online.steps:
            finetuning.run_online(this, plan, pretrained)
    return this


def start(
    config: ml_collections.ConfigDict,
    parts: Parts,
    workdir: pathlib.Path,
    stack: contextlib.ExitStack,
) -> tuple[Run, Plan]:
    """Returns the run and its plan, with everything open that it writes to."""
    stack.enter_context(runs.locked(workdir))
    offline_store = checkpoints.Store(workdir / "offline")
    stack.callback(offline_store.close)
    online_store = checkpoints.Store(workdir / "online")
    stack.callback(online_store.close)
    this = Run(config, parts, workdir, offline_store, online_store)
    plan = plan_phases(this)
    if parts.model is None and plan.dataset is not None:
        own_weights.check_on_data(parts, None, plan.dataset)
    wandb = None
    if config.logging.wandb != "off":
        mode = config.logging.wandb
        wandb = wandb_events.Events(workdir, mode, config.to_dict())
    write_config(config, workdir)  # Only now: a refused run may be corrected.
    this.evaluate = evaluation.make_evaluator(
        parts, config.evaluation.episodes, config.evaluation.threads
    )
    this.writer = metrics.Writer(
        workdir,
        parts.seeds,
        plan.table_lengths,
        config.logging.tensorboard,
        plan.first_event,
        bool(parts.sweep),
        wandb,
    )
    stack.callback(this.writer.close)
    return this, plan


def variant(config: ml_collections.ConfigDict) -> str:
    """Returns what the experiment is called among those of its algorithm."""
    weight = config.guidance.weight
    if weight == "none":
        return "no_data" if config.online.data == "buffer" else "vanilla"
    return "samg" if weight == "cvae" else f"samg_{weight}"


def default_workdir(config: ml_collections.ConfigDict) -> str:
    """Returns a folder under `runs/` that names algorithm, variant, data and seeds."""
    dataset = config.dataset.name.replace(":", "/")
    if config.dataset.path:
        dataset = pathlib.Path(config.dataset.path).stem
    last = config.seed + config.num_seeds - 1
    seeds = f"seed{config.seed}" + (f"-{last}" if config.num_seeds > 1 else "")
    name = f"{config.algorithm}_{variant(config)}"
    for text in config.get("sweep", ()):
        name += "_sweep_" + text.split("=")[0].split(".")[-1].strip()
    return str(pathlib.Path("runs", name, dataset, seeds))


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Parts:
    """Checks config and workdir; returns the parts."""
    parts_lib.complete(config)
    validation.check(config)
    parts = parts_lib.resolve(config)
    mesh = devices.choose(len(parts.seeds), config.devices)
    parts = dataclasses.replace(parts, mesh=mesh)
    bounds.check_run(config, parts)
    own_weights.check_shape(parts)
    checks.folder(workdir, "--workdir=FOLDER")
    check_same_config(config, workdir)
    return parts


def check_same_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses a workdir that holds a run of another config."""
    path = workdir / "config.json"
    if path.exists():
        before = validation.flatten(json.loads(path.read_text()))
        after = validation.flatten(json.loads(json.dumps(config.to_dict())))
        different = [
            f"  {name}: {before.get(name)!r} before, {after.get(name)!r} now"
            for name in sorted(before | after)
            if before.get(name) != after.get(name) and name not in FREE_FIELDS
        ]
        if different:
            raise checks.UserError(
                f"The workdir {str(workdir)!r} holds a run of another config:\n"
                + "\n".join(different)
                + "\nA workdir is resumed by the same command. Give another one with "
                "--workdir=FOLDER, or the same values."
            )


def write_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `config.json`, whole or not at all."""
    path = workdir / "config.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    temporary.replace(path)


def plan_phases(this: Run) -> Plan:
    """Returns the plan; raises ValueError where something is missing."""
    config, plan = this.config, Plan()
    if this.online_store.latest() is not None:
        plan.online_meta = this.online_store.meta()
    elif this.offline_store.latest() is not None:
        plan.offline_meta = this.offline_store.meta()
    needs_data = sampling.needs_dataset(config.online)
    if plan.online_meta is None:
        if config.offline.restore:
            plan.source = checkpoints.find_offline(config.offline.restore)
            needs_data |= forking.needs_dataset(config, this.parts, plan.source)
        elif plan.offline_meta is not None:
            needs_data |= not plan.offline_meta["complete"]
        else:
            needs_data = True
    if needs_data:
        plan.dataset, plan.preprocessing, this.data_source = parts_lib.load_dataset(
            config, this.parts.task, logs.LOGGER.info, logs.LOGGER.warning
        )
    meta = plan.online_meta or plan.offline_meta
    if not needs_data:
        this.data_source = (meta or forking.meta(plan.source))["data_source"]
    logs.LOGGER.info("offline data: %s", this.data_source)
    count, mesh = len(this.parts.seeds), this.parts.mesh
    logs.LOGGER.info("devices: %s", devices.describe(count, mesh))
    if meta is not None:
        plan.table_lengths = tuple(meta["table_lengths"])
        steps = meta["offline_step"] + meta.get("model_step", 0)
        plan.first_event = steps + (meta["step"] if plan.online_meta else 0) + 1
        logs.LOGGER.info("resuming %s at step %s", this.workdir, meta["step"])
    return plan
