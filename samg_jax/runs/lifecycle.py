"""An experiment from its config to its closing table: offline, freeze + fit, online."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from samg_jax import checks, compilation, durable, foreign, logs
from samg_jax.data import sampling
from samg_jax.experiment import config_checks, resolution, size_limits, unread_fields
from samg_jax.experiment.resolution import Parts
from samg_jax.runs import (
    checkpoints,
    disk_space,
    environments,
    evaluation,
    finetune,
    forks,
    live_run,
    locations,
    lost_checkpoints,
    pretrain,
    run_output,
    run_tables,
    saved_configs,
    signals,
    wandb_events,
    weight_checks,
)
from samg_jax.runs.live_run import Plan, Run
from samg_jax.training import devices, hardware

FREE_FIELDS = saved_configs.FREE_FIELDS
check_same_config = saved_configs.check_same_config


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
        data.downloads.DownloadError: where a D4RL file is missing and cannot be had.
    """
    with bugs_in_log(config, workdir):
        parts = prepare(config, workdir)
        idle = unread_fields.check(config, given or {})
    with contextlib.ExitStack() as stack:
        stack.enter_context(compilation.matmul_precision(config.matmul_precision))
        # Before the log: a second command leaves it alone.
        stack.enter_context(live_run.locked(workdir))
        stack.enter_context(logs.to_file(workdir / "log.txt"))
        this, plan = start(config, parts, workdir, stack)
        for line in environments.describe(parts.trial):
            logs.LOGGER.info(line)
        if idle:  # Only now: an error of the start comes alone.
            logs.LOGGER.warning(idle)
        stack.enter_context(signals.at_boundaries())
        if plan.online_meta is None:
            pretrained = pretrain.run_offline(this, plan)
        else:
            pretrained = None
        if config.online.steps:
            finetune.run_online(this, plan, pretrained)
    return this


@contextlib.contextmanager
def bugs_in_log(
    config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> Iterator[None]:
    """Writes a bug that ends the block, before the log is open, into the log.

    Nothing is written into a workdir that is another run's, or in which one runs. A
    bug of the user's that is told in one line says where its traceback is.
    """
    try:
        yield
    except foreign.Raised as error:
        if not _append(config, workdir, error):
            raise
        raise checks.UserError(
            f"{error} Its traceback is in {workdir / 'log.txt'}."
        ) from error
    except checks.UserError:
        raise
    except Exception as error:
        _append(config, workdir, error)
        raise


def _append(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, error: Exception
) -> bool:
    """Whether the traceback could be written to the end of the log."""
    with contextlib.suppress(checks.UserError, OSError):
        locations.check_layout(workdir)
        saved_configs.check_same_config(config, workdir, complete=False)
        durable.make_folder(workdir)
        with live_run.locked(workdir):
            logs.append(workdir / "log.txt", error)
        return True
    return False


def start(
    config: ml_collections.ConfigDict,
    parts: Parts,
    workdir: pathlib.Path,
    stack: contextlib.ExitStack,
) -> tuple[Run, Plan]:
    """Returns the run and its plan, with everything open that it writes to."""
    offline_store = checkpoints.Store(workdir / "offline")
    stack.callback(offline_store.close)
    online_store = checkpoints.Store(workdir / "online")
    stack.callback(online_store.close)
    this = Run(config, parts, workdir, offline_store, online_store)
    plan = plan_phases(this)
    if parts.model is None and plan.dataset is not None:
        weight_checks.check_on_data(parts, None, plan.dataset)
    disk_space.check_start(config, parts, workdir)
    wandb = None
    if config.logging.wandb != "off":
        mode = config.logging.wandb
        wandb = wandb_events.Events(workdir, mode, config.to_dict())
    write_config(config, workdir)  # Only now: a refused run may be corrected.
    this.evaluate = evaluation.make_evaluator(
        parts,
        config.evaluation.episodes,
        config.evaluation.threads,
        0,
        config.evaluation.get("max_steps"),
    )
    this.writer = run_output.Writer(
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
        dataset = durable.short_name(pathlib.Path(config.dataset.path).stem, 200)
    last = config.seed + config.num_seeds - 1
    seeds = f"seed{config.seed}" + (f"-{last}" if config.num_seeds > 1 else "")
    name = f"{config.algorithm}_{variant(config)}"
    for text in config.get("sweep", ()):
        name += "_sweep_" + text.split("=")[0].split(".")[-1].strip()
    return str(pathlib.Path("runs", durable.short_name(name, 200), dataset, seeds))


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Parts:
    """Checks config and workdir; returns the parts."""
    resolution.complete(config)
    config_checks.check(config)
    parts = resolution.resolve(config)
    environments.check(config, parts.task)
    mesh = devices.choose(len(parts.seeds), config.devices)
    parts = dataclasses.replace(parts, mesh=mesh)
    size_limits.check_run(config, parts)
    weight_checks.check_shape(parts)
    checks.folder(workdir, "workdir=FOLDER")
    locations.check_layout(workdir)
    check_same_config(config, workdir)
    return environments.try_out(parts, config.get("single_env"))


def write_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `config.json`, whole or not at all."""
    with durable.writing(workdir):
        durable.write_json(workdir / saved_configs.CONFIG, config.to_dict())


def plan_phases(this: Run) -> Plan:
    """Finds where the run stands and what it needs.

    Raises:
        checks.UserError: something is missing, damaged or of another run.
    """
    config, plan = this.config, Plan()
    store, meta = this.online_store, recover_online(this)
    plan.online_meta = meta
    if meta is None:
        store, meta = this.offline_store, this.offline_store.recover()
        plan.offline_meta = meta
    if meta is not None:
        saved_configs.check_same_run(config, meta, store.directory)
    needs_data = sampling.needs_dataset(config.online)
    if plan.online_meta is None:
        if config.offline.restore:
            plan.source = locations.find_offline(config.offline.restore)
            needs_data |= forks.needs_dataset(config, this.parts, plan.source)
        elif plan.offline_meta is not None:
            needs_data |= not plan.offline_meta["complete"]
        else:
            needs_data = True
    origin = meta
    if origin is None and plan.source is not None:
        origin = forks.meta(plan.source)
    refuse_lost(this, plan, meta)
    find_data(this, plan, origin, needs_data)
    count, mesh = len(this.parts.seeds), this.parts.mesh
    logs.LOGGER.info("devices: %s", devices.describe(count, mesh))
    if mend := hardware.warning():
        logs.LOGGER.warning(mend)
    if meta is not None:
        plan.table_lengths = tuple(meta["table_lengths"])
        steps = meta["offline_step"] + meta.get("model_step", 0)
        plan.first_event = steps + (meta["step"] if plan.online_meta else 0) + 1
        run_tables.repair(this.workdir, meta, store)
        logs.LOGGER.info("resuming %s at step %s", this.workdir, meta["step"])
    return plan


def recover_online(this: Run) -> dict[str, Any] | None:
    """The description of the online checkpoint to go on from; None to begin the phase.

    Where none of them can be read, the complete offline checkpoint is the one before,
    in a fork that of the run that it was forked from.
    """
    try:
        return this.online_store.recover()
    except checkpoints.UnreadableError as error:
        offline = this.offline_store.directory
        if this.config.offline.restore:
            # Without the other run, what is damaged here is still to be said.
            with contextlib.suppress(checks.UserError):
                offline = locations.find_offline(this.config.offline.restore)
        meta = forks.meta_before(offline)
        if meta is None:
            raise
        logs.LOGGER.warning(*forks.fallback(error, offline, meta))
        this.online_store.set_aside()
        return None


def refuse_lost(this: Run, plan: Plan, meta: dict[str, Any] | None) -> None:
    """Refuses to train from the start over the tables of a run that had saved.

    If only fine-tuning restarts, the tables so far are kept beside the new ones.

    Args:
        this: the run.
        plan: where it begins.
        meta: of the checkpoint to go on from, None if there is none.
    """
    if plan.online_meta is not None:
        return
    anew = meta is None and plan.source is None
    if anew and lost_checkpoints.is_proven(this.workdir, this.config):
        raise lost_checkpoints.refuse(this.workdir)
    had = lost_checkpoints.phase(this.workdir, this.config)
    if had == "online" or (anew and had):
        kept = run_tables.keep(this.workdir)
        logs.LOGGER.warning(
            "%s has no checkpoint that can be read, though the tables go on to where "
            "one is due. The %s phase restarts; the tables so far are kept as %s.",
            *(this.workdir / had, had, " and ".join(map(str, kept))),
        )


def find_data(this: Run, plan: Plan, origin: dict | None, needed: bool) -> None:
    """Loads the dataset if it is needed; refuses one that has changed.

    Args:
        this: the run, which is told what its data are.
        plan: receives the dataset.
        origin: description of the checkpoint that the run goes on from, its own or
            another run's; None if it begins.
        needed: whether the dataset is opened.
    """
    before = origin and origin.get("data_fingerprint")
    if not needed:
        this.data_source, this.data_fingerprint = origin["data_source"], before
        logs.LOGGER.info("offline data: %s", this.data_source)
        return

    def identify(found: str) -> None:
        forks.check_data(this.config, origin, found)
        this.data_fingerprint = found

    plan.dataset, plan.preprocessing, this.data_source = resolution.load_dataset(
        *(this.config, this.parts.task, logs.LOGGER.info, logs.LOGGER.warning),
        identify,
    )
    logs.LOGGER.info("offline data: %s", this.data_source)
