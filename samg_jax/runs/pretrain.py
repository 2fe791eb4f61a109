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
from samg_jax.runs.live_run import Plan, Run, report_failures
from samg_jax.training import devices, offline_phase


def run_offline(this: Run, plan: Plan) -> offline_phase.State:
    """Returns the pre-trained state: trained, resumed or forked."""
    parts = this.parts
    if plan.source is not None:
        state, start = forks.restore(parts, plan.source, measure(parts, plan))
        state = devices.put(parts.mesh, state)
        if plan.offline_meta is not None:  # Stopped while its own model trained.
            state, _ = this.offline_store.restore(state, parts.mesh)
            live_run.check_seeds(this, state, this.offline_store)
            start = plan.offline_meta["model_step"]
        if start is None:
            return state
        dataset = devices.put_shared(parts.mesh, plan.dataset)
        return fit_guidance(this, plan, state, dataset, start)
    start = fitted = 0
    if plan.dataset is None:
        state = forks.template(parts)
    else:
        init = functools.partial(offline_phase.init, parts)
        measured = measure(parts, plan)
        state = devices.build(parts.mesh, init, plan.preprocessing, measured)
    if plan.offline_meta is not None:
        state, _ = this.offline_store.restore(state, parts.mesh)
        live_run.check_seeds(this, state, this.offline_store)
        start, fitted = (
            plan.offline_meta["offline_step"],
            plan.offline_meta["model_step"],
        )
        if plan.offline_meta["complete"]:
            return state
    dataset = devices.put_shared(parts.mesh, plan.dataset)
    state = train_offline(this, state, dataset, start)
    if not parts.fitted:
        save_offline(this, state, parts.settings.offline.updates, 0, complete=True)
        return state
    return fit_guidance(this, plan, state, dataset, fitted)


def measure(parts: Experiment, plan: Plan) -> Any:
    """Returns what the weight's model must know of the data; None where none trains."""
    if parts.model is None or plan.dataset is None:
        return None
    data = plan.dataset
    return parts.model.measure(data.observations, data.actions, data.next_observations)


def train_offline(this: Run, state, dataset, start: int) -> offline_phase.State:
    """Returns the state after the rest of the pre-training."""
    phase = this.parts.settings.offline
    total = phase.updates
    updates = offline_phase.make_updates(this.parts, phase.batch_size)
    with this.bar("offline", start, total, "update") as bar:
        for begin, end in schedule.segments(start, total, schedule.periods(phase)):
            began = time.perf_counter()
            state, values = updates(state, dataset, begin, length=end - begin)
            if schedule.due(end, phase.log_every, total):
                values = jax.device_get(values)
                this.writer.training("offline", (end, 0), values)
                rate = (end - begin) / (time.perf_counter() - began)
                this.writer.rate("offline", (end, 0), rate)
                report_failures(this, state, "update")
            if schedule.due(end, phase.eval_every, total):
                bar.set_postfix_str("score " + this.score("offline", (end, 0), state))
            stop = signals.asked()
            if stop or schedule.due(end, phase.checkpoint_every, total):
                save_offline(this, state, end, 0)
            if stop:
                raise signals.Terminated
            bar.update(end - begin)
    return state


def fit_guidance(
    this: Run, plan: Plan, state, dataset, start: int
) -> offline_phase.State:
    """Returns the state with a trained model of the weight, if any, and its fit."""
    trained = 0 if plan.source else this.parts.settings.offline.updates
    steps = 0
    split = offline_phase.held_out(this.parts, dataset)
    if this.parts.model is not None:
        steps = this.parts.model.settings.steps
        inputs = dataset, devices.put_shared(this.parts.mesh, split.train)
        state = train_model(this, state, inputs, (start, trained))
    state, findings = offline_phase.fit_weight(this.parts, state, dataset, split)
    weight_checks.check_on_data(this.parts, state, plan.dataset)
    report_fit(this, findings, trained + steps)
    if not plan.source:
        save_offline(this, state, trained, steps, True, findings)
    return state


def train_model(
    this: Run, state, inputs, steps: tuple[int, int]
) -> offline_phase.State:
    """Returns the state after the rest of the training of the weight's model.

    Args:
        this: the run.
        state: of the offline phase.
        inputs: dataset on the device, and the rows of it to train on.
        steps: updates of the model so far, and offline updates of this run.
    """
    phase, model = this.parts.settings.offline, this.parts.model
    start, trained = steps
    total = model.settings.steps
    updates = offline_phase.make_model_updates(this.parts)
    with this.bar(model.title, start, total, "update") as bar:
        for begin, end in schedule.segments(start, total, schedule.periods(phase)):
            state, values = updates(state, inputs, begin, length=end - begin)
            if schedule.due(end, phase.log_every, total):
                values = jax.device_get(values)
                this.writer.training(model.name, (trained + end, 0), values)
                means = {name: value.mean() for name, value in values.items()}
                bar.set_postfix({name: f"{x:.3g}" for name, x in means.items()})
                report_failures(this, state, f"{model.title} update")
            stop = signals.asked()
            due = stop or schedule.due(end, phase.checkpoint_every, -1)
            if end < total and due:
                save_offline(this, state, trained, end)
                if stop:
                    raise signals.Terminated
            bar.update(end - begin)
    return state


def report_fit(this: Run, findings: dict[str, np.ndarray], step: int) -> None:
    """Writes the examination of the weight down; warns of a bad one, loudly."""
    this.writer.training("fit", (step, 0), findings)
    model = this.parts.model
    for index, seed in enumerate(this.parts.seeds):
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
    this: Run,
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
        "observation_size": this.parts.task.observation_size,
        "action_size": this.parts.task.action_size,
        "findings": {k: v.tolist() for k, v in (findings or {}).items()},
    }
    meta, files = live_run.describe(this, about)
    with signals.finished_first():
        this.offline_store.save(step, state, {"empty": np.zeros(1)}, meta, files)
    if complete and this.parts.settings.online.steps:
        signals.stop_if_asked()
