"""The offline phase of a run: from the first update to the fitted guidance."""

from __future__ import annotations

import functools
import time
from typing import Any

import jax
import numpy as np

from samg_jax import logs
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import forks, live_run, schedule, signals, weight_checks
from samg_jax.runs.live_run import ResumePlan, Run, report_failures
from samg_jax.training import devices, offline_phase


def run_offline(run: Run, plan: ResumePlan) -> offline_phase.State:
    """Returns the pre-trained state: trained, resumed or forked."""
    experiment = run.experiment
    if plan.source is not None:
        state, start = forks.restore(experiment, plan.source, measure(experiment, plan))
        state = devices.put(experiment.mesh, state)
        if plan.offline_meta is not None:  # Stopped while its own model trained.
            state, _ = run.offline_store.restore(state, experiment.mesh)
            live_run.check_seeds(run, state, run.offline_store)
            start = plan.offline_meta["model_step"]
        if start is None:
            return state
        dataset = devices.put_shared(experiment.mesh, plan.dataset)
        return fit_guidance(run, plan, state, dataset, start)
    start = fitted = 0
    if plan.dataset is None:
        state = forks.template(experiment)
    else:
        init = functools.partial(offline_phase.init, experiment)
        measured = measure(experiment, plan)
        state = devices.build(experiment.mesh, init, plan.preprocessing, measured)
    if plan.offline_meta is not None:
        state, _ = run.offline_store.restore(state, experiment.mesh)
        live_run.check_seeds(run, state, run.offline_store)
        start, fitted = (
            plan.offline_meta["offline_step"],
            plan.offline_meta["model_step"],
        )
        if plan.offline_meta["complete"]:
            return state
    dataset = devices.put_shared(experiment.mesh, plan.dataset)
    state = train_offline(run, state, dataset, start)
    if not experiment.fitted:
        save_offline(run, state, experiment.settings.offline.updates, 0, complete=True)
        return state
    return fit_guidance(run, plan, state, dataset, fitted)


def measure(experiment: Experiment, plan: ResumePlan) -> Any:
    """Returns what the weight's model must know of the data; None where none trains."""
    if experiment.model is None or plan.dataset is None:
        return None
    data = plan.dataset
    return experiment.model.measure(
        data.observations, data.actions, data.next_observations
    )


def train_offline(run: Run, state, dataset, start: int) -> offline_phase.State:
    """Returns the state after the rest of the pre-training."""
    phase = run.experiment.settings.offline
    total = phase.updates
    updates = offline_phase.make_updates(run.experiment, phase.batch_size)
    with run.bar("offline", start, total, "update") as bar:
        for begin, end in schedule.segments(start, total, schedule.periods(phase)):
            began = time.perf_counter()
            state, values = updates(state, dataset, begin, length=end - begin)
            if schedule.due(end, phase.log_every, total):
                values = jax.device_get(values)
                run.writer.training("offline", (end, 0), values)
                rate = (end - begin) / (time.perf_counter() - began)
                run.writer.rate("offline", (end, 0), rate)
                report_failures(run, state, "update")
            if schedule.due(end, phase.eval_every, total):
                bar.set_postfix_str("score " + run.score("offline", (end, 0), state))
            stop = signals.asked()
            if stop or schedule.due(end, phase.checkpoint_every, total):
                save_offline(run, state, end, 0)
            if stop:
                raise signals.Terminated
            bar.update(end - begin)
    return state


def fit_guidance(
    run: Run, plan: ResumePlan, state, dataset, start: int
) -> offline_phase.State:
    """Returns the state with a trained model of the weight, if any, and its fit."""
    trained = 0 if plan.source else run.experiment.settings.offline.updates
    steps = 0
    split = offline_phase.held_out(run.experiment, dataset)
    if run.experiment.model is not None:
        steps = run.experiment.model.settings.steps
        inputs = dataset, devices.put_shared(run.experiment.mesh, split.train)
        state = train_model(run, state, inputs, (start, trained))
    state, findings = offline_phase.fit_weight(run.experiment, state, dataset, split)
    weight_checks.check_on_data(run.experiment, state, plan.dataset)
    report_fit(run, findings, trained + steps)
    if not plan.source:
        save_offline(run, state, trained, steps, True, findings)
    return state


def train_model(run: Run, state, inputs, steps: tuple[int, int]) -> offline_phase.State:
    """Returns the state after the rest of the training of the weight's model.

    Args:
        run: The run.
        state: of the offline phase.
        inputs: dataset on the device, and the rows of it to train on.
        steps: updates of the model so far, and offline updates of this run.
    """
    phase, model = run.experiment.settings.offline, run.experiment.model
    start, trained = steps
    total = model.settings.steps
    updates = offline_phase.make_model_updates(run.experiment)
    with run.bar(model.title, start, total, "update") as bar:
        for begin, end in schedule.segments(start, total, schedule.periods(phase)):
            state, values = updates(state, inputs, begin, length=end - begin)
            if schedule.due(end, phase.log_every, total):
                values = jax.device_get(values)
                run.writer.training(model.name, (trained + end, 0), values)
                means = {name: value.mean() for name, value in values.items()}
                bar.set_postfix({name: f"{x:.3g}" for name, x in means.items()})
                report_failures(run, state, f"{model.title} update")
            stop = signals.asked()
            due = stop or schedule.due(end, phase.checkpoint_every, -1)
            if end < total and due:
                save_offline(run, state, trained, end)
                if stop:
                    raise signals.Terminated
            bar.update(end - begin)
    return state


def report_fit(run: Run, findings: dict[str, np.ndarray], step: int) -> None:
    """Writes the examination of the weight down; warns of a bad one, loudly."""
    run.writer.training("fit", (step, 0), findings)
    model = run.experiment.model
    for index, seed in enumerate(run.experiment.seeds):
        finding = {name: float(value[index]) for name, value in findings.items()}
        title, words = "Weight", ""
        if model is not None:
            title, words = model.title, model.describe(finding) + ", "
        logs.LOGGER.info(
            "%s of seed %d on held-out data: %sp_int median %.3f; p(s, a) is positive "
            "for a share of %.2f, and %.2f on average",
            title[0].upper() + title[1:],
            seed,
            words,
            finding["p_int_q50"],
            finding["share_active"],
            finding["p_mean"],
        )
        text = model.warning(finding) if model is not None else ""
        if text:
            logs.LOGGER.warning("%s\nSeed %d: %s\n%s", "!" * 72, seed, text, "!" * 72)


def save_offline(
    run: Run,
    state: offline_phase.State,
    offline_step: int,
    model_step: int,
    complete: bool = False,
    findings: dict | None = None,
) -> None:
    """Saves the offline phase; the last checkpoint is what runs fork from."""
    # The last checkpoint may follow one of the same step; it needs its own number.
    step = offline_step + model_step + int(complete)
    about = {
        "step": step,
        "offline_step": offline_step,
        "model_step": model_step,
        "complete": complete,
        "observation_size": run.experiment.task.observation_size,
        "action_size": run.experiment.task.action_size,
        "findings": {k: v.tolist() for k, v in (findings or {}).items()},
    }
    meta, files = live_run.describe(run, about)
    with signals.finished_first():
        run.offline_store.save(step, state, {"empty": np.zeros(1)}, meta, files)
    if complete and run.experiment.settings.online.steps:
        signals.stop_if_asked()
