"""An experiment from its config to its closing table: offline, freeze + fit, online."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections

from samg_jax import checks, compilation, durable, foreign, logs
from samg_jax.experiment import datasets, resolve, size_limits, unread_fields
from samg_jax.experiment.resolved import Experiment
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
from samg_jax.runs.live_run import ResumePlan, Run
from samg_jax.training import devices, hardware

FREE_FIELDS = saved_configs.FREE_FIELDS
check_same_config = saved_configs.check_same_config


def run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    given: Mapping[str, Any] | None = None,
    evaluated: Callable[[Run], None] | None = None,
) -> Run:
    """Runs an experiment, or what is left of it, in its workdir; returns the run.

    Args:
        config: The config of the experiment, which is resolved here, once.
        workdir: where everything is written.
        given: fields that the user has set -> the values that they would have
            otherwise; those that the run does not read are warned of.
        evaluated: Called with the run after each evaluation.

    Raises:
        checks.UserError: before any compute is spent, if config, data, environment or
            checkpoint cannot be used.
        data.downloads.DownloadError: where a D4RL file is missing and cannot be had.
    """
    with bugs_in_log(config.to_dict(), workdir):
        experiment = prepare(config, workdir)
        idle = unread_fields.check(experiment.record, given or {})
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            compilation.matmul_precision(experiment.settings.matmul_precision)
        )
        # Before the log: a second command leaves it alone.
        stack.enter_context(live_run.locked(workdir))
        stack.enter_context(logs.to_file(workdir / "log.txt"))
        run, plan = start(experiment, workdir, stack)
        run.evaluated = evaluated
        for line in environments.describe(experiment.trial):
            logs.LOGGER.info(line)
        if idle:  # Only now: an error of the start comes alone.
            logs.LOGGER.warning(idle)
        stack.enter_context(signals.at_boundaries())
        if plan.online_meta is None:
            pretrained = pretrain.run_offline(run, plan)
        else:
            pretrained = None
        if experiment.settings.online.steps:
            finetune.run_online(run, plan, pretrained)
    return run


@contextlib.contextmanager
def bugs_in_log(fields: Mapping[str, Any], workdir: pathlib.Path) -> Iterator[None]:
    """Writes a bug that ends the block, before the log is open, into the log.

    Nothing is written into a workdir that is another run's, or in which one runs. A
    bug of the user's that is told in one line says where its traceback is.
    """
    try:
        yield
    except foreign.Raised as error:
        if not _append(fields, workdir, error):
            raise
        raise checks.UserError(
            f"{error} Its traceback is in {workdir / 'log.txt'}."
        ) from error
    except checks.UserError:
        raise
    except Exception as error:
        _append(fields, workdir, error)
        raise


def _append(fields: Mapping[str, Any], workdir: pathlib.Path, error: Exception) -> bool:
    """Whether the traceback could be written to the end of the log."""
    with contextlib.suppress(checks.UserError, OSError):
        locations.check_layout(workdir)
        saved_configs.check_same_config(fields, workdir, complete=False)
        durable.make_folder(workdir)
        with live_run.locked(workdir):
            logs.append(workdir / "log.txt", error)
        return True
    return False


def start(
    experiment: Experiment, workdir: pathlib.Path, stack: contextlib.ExitStack
) -> tuple[Run, ResumePlan]:
    """Returns the run and its plan, with everything open that it writes to."""
    offline_store = checkpoints.Store(workdir / "offline")
    stack.callback(offline_store.close)
    online_store = checkpoints.Store(workdir / "online")
    stack.callback(online_store.close)
    run = Run(experiment, workdir, offline_store, online_store)
    plan = plan_phases(run)
    if experiment.model is None and plan.dataset is not None:
        weight_checks.check_on_data(experiment, None, plan.dataset)
    disk_space.check_start(experiment, workdir)
    logging, wandb = experiment.settings.logging, None
    if logging.wandb != "off":
        wandb = wandb_events.Events(workdir, logging.wandb, experiment.record)
    # The config is written only now, so that a refused run may be corrected.
    write_config(experiment.record, workdir)
    run.evaluate = evaluation.of_run(experiment)
    run.writer = run_output.Writer(
        workdir,
        experiment.seeds,
        plan.table_lengths,
        logging.tensorboard,
        plan.first_event,
        bool(experiment.sweep),
        wandb,
    )
    stack.callback(run.writer.close)
    return run, plan


def variant(fields: Mapping[str, Any]) -> str:
    """What an experiment is called among those of its algorithm.

    Args:
        fields: Its config as nested dictionaries.
    """
    weight = fields["guidance"]["weight"]
    if weight == "none":
        return "no_data" if fields["online"]["data"] == "buffer" else "vanilla"
    return "samg" if weight == "cvae" else f"samg_{weight}"


def default_workdir(fields: Mapping[str, Any]) -> str:
    """A folder under `runs/` that names algorithm, variant, data and seeds.

    Args:
        fields: The config as nested dictionaries, not yet complete.
    """
    dataset = fields["dataset"]["name"].replace(":", "/")
    if fields["dataset"]["path"]:
        dataset = durable.short_name(pathlib.Path(fields["dataset"]["path"]).stem, 200)
    first, count = fields["seed"], fields["num_seeds"]
    seeds = f"seed{first}" + (f"-{first + count - 1}" if count > 1 else "")
    name = f"{fields['algorithm']}_{variant(fields)}"
    for text in fields.get("sweep", ()):
        name += "_sweep_" + text.split("=")[0].split(".")[-1].strip()
    return str(pathlib.Path("runs", durable.short_name(name, 200), dataset, seeds))


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Experiment:
    """The experiment of a config, after every check of it, of workdir and devices."""
    experiment = resolve.experiment(config)
    environments.check(experiment)
    mesh = devices.choose(len(experiment.seeds), experiment.settings.devices)
    experiment = dataclasses.replace(experiment, mesh=mesh)
    size_limits.check_run(experiment)
    weight_checks.check_shape(experiment)
    checks.folder(workdir, "workdir=FOLDER")
    locations.check_layout(workdir)
    check_same_config(experiment.record, workdir)
    return environments.try_out(experiment)


def write_config(record: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Writes `config.json`, whole or not at all."""
    with durable.writing(workdir):
        durable.write_json(workdir / saved_configs.CONFIG, record)


def plan_phases(run: Run) -> ResumePlan:
    """Finds where the run stands and what it needs.

    Raises:
        checks.UserError: something is missing, damaged or of another run.
    """
    experiment, plan = run.experiment, ResumePlan()
    restored = experiment.settings.offline.restore
    store, meta = run.online_store, recover_online(run)
    plan.online_meta = meta
    if meta is None:
        store, meta = run.offline_store, run.offline_store.recover()
        plan.offline_meta = meta
    if meta is not None:
        saved_configs.check_same_run(experiment.record, meta, store.directory)
    needs_data = experiment.settings.online.reads_dataset
    if plan.online_meta is None:
        if restored:
            plan.source = locations.find_offline(restored)
            needs_data |= forks.needs_dataset(experiment, plan.source)
        elif plan.offline_meta is not None:
            needs_data |= not plan.offline_meta["complete"]
        else:
            needs_data = True
    origin = meta
    if origin is None and plan.source is not None:
        origin = forks.meta(plan.source)
    refuse_lost(run, plan, meta)
    find_data(run, plan, origin, needs_data)
    text = devices.describe(len(experiment.seeds), experiment.mesh)
    logs.LOGGER.info("devices: %s", text)
    if mend := hardware.warning():
        logs.LOGGER.warning(mend)
    if meta is not None:
        plan.table_lengths = tuple(meta["table_lengths"])
        steps = meta["offline_step"] + meta.get("model_step", 0)
        plan.first_event = steps + (meta["step"] if plan.online_meta else 0) + 1
        run_tables.repair(run.workdir, meta, store)
        logs.LOGGER.info("resuming %s at step %s", run.workdir, meta["step"])
    return plan


def recover_online(run: Run) -> dict[str, Any] | None:
    """The description of the online checkpoint to go on from; None to begin the phase.

    Where none of them can be read, the complete offline checkpoint is the one before,
    in a fork that of the run that it was forked from.
    """
    try:
        return run.online_store.recover()
    except checkpoints.UnreadableError as error:
        offline = run.offline_store.directory
        restored = run.experiment.settings.offline.restore
        if restored:
            # Without the other run, what is damaged here is still to be said.
            with contextlib.suppress(checks.UserError):
                offline = locations.find_offline(restored)
        meta = forks.meta_before(offline)
        if meta is None:
            raise
        logs.LOGGER.warning(*forks.fallback(error, offline, meta))
        run.online_store.set_aside()
        return None


def refuse_lost(run: Run, plan: ResumePlan, meta: dict[str, Any] | None) -> None:
    """Refuses to train from the start over the tables of a run that had saved.

    If only fine-tuning restarts, the tables so far are kept beside the new ones.

    Args:
        run: The run.
        plan: where it begins.
        meta: of the checkpoint to go on from, None if there is none.
    """
    if plan.online_meta is not None:
        return
    anew = meta is None and plan.source is None
    if anew and lost_checkpoints.is_proven(
        run.workdir, run.experiment.settings.offline
    ):
        raise lost_checkpoints.refuse(run.workdir)
    had = lost_checkpoints.phase(run.workdir, run.experiment.record)
    if had == "online" or (anew and had):
        kept = run_tables.keep(run.workdir)
        logs.LOGGER.warning(
            "%s has no checkpoint that can be read, though the tables go on to where "
            "one is due. The %s phase restarts; the tables so far are kept as %s.",
            *(run.workdir / had, had, " and ".join(map(str, kept))),
        )


def find_data(run: Run, plan: ResumePlan, origin: dict | None, needed: bool) -> None:
    """Loads the dataset if it is needed; refuses one that has changed.

    Args:
        run: The run, which is told what its data are.
        plan: receives the dataset.
        origin: description of the checkpoint that the run goes on from, its own or
            another run's; None if it begins.
        needed: whether the dataset is opened.
    """
    before = origin.get("data_fingerprint") if origin else None
    if not needed:
        run.data_source, run.data_fingerprint = origin["data_source"], before
        logs.LOGGER.info("offline data: %s", run.data_source)
        return

    def identify(found: str) -> None:
        forks.check_data(run.experiment.settings.dataset, origin, found)
        run.data_fingerprint = found

    plan.dataset, plan.preprocessing, run.data_source = datasets.load(
        run.experiment, logs.LOGGER.info, logs.LOGGER.warning, identify
    )
    logs.LOGGER.info("offline data: %s", run.data_source)
