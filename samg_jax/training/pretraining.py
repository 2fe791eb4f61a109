"""The offline phase of a run: from the first update to the fitted guidance."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from samg_jax.guidance import collapse
from samg_jax.training import (
    forking,
    logs,
    offline,
    schedule,
)
from samg_jax.training.parts import Parts
from samg_jax.training.runs import Plan, Run, report_failures


def run_offline(this: Run, plan: Plan) -> offline.State:
    """Returns the pre-trained state: trained, resumed or forked."""
    config, parts = this.config, this.parts
    if plan.source is not None:
        state, start = forking.restore(parts, plan.source, target_scale(parts, plan))
        if plan.offline_meta is not None:  # Stopped while its own C-VAE trained.
            state, _ = this.offline_store.restore(state)
            start = plan.offline_meta["cvae_step"]
        if start is None:
            return state
        dataset = jax.device_put(plan.dataset)
        return fit_guidance(this, plan, state, dataset, start)
    start = fitted = 0
    if plan.dataset is None:
        state = forking.template(parts)
    else:
        state = offline.init(parts, plan.preprocessing, target_scale(parts, plan))
    if plan.offline_meta is not None:
        state, _ = this.offline_store.restore(state)
        start, fitted = (
            plan.offline_meta["offline_step"],
            plan.offline_meta["cvae_step"],
        )
        if plan.offline_meta["complete"]:
            return state
    dataset = jax.device_put(plan.dataset)
    state = train_offline(this, state, dataset, start)
    if parts.cvae is None:
        save_offline(this, state, config.offline.updates, 0, complete=True)
        return state
    return fit_guidance(this, plan, state, dataset, fitted)


def target_scale(parts: Parts, plan: Plan) -> Any:
    """Returns the scale of the C-VAE's targets, None where no C-VAE is trained."""
    if parts.cvae is None or plan.dataset is None:
        return None
    return parts.cvae.measure_target_scale(
        plan.dataset.actions, plan.dataset.next_observations
    )


def train_offline(this: Run, state, dataset, start: int) -> offline.State:
    """Returns the state after the rest of the pre-training."""
    phase, total = this.config.offline, this.config.offline.updates
    updates = offline.make_updates(this.parts, phase.batch_size)
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
            if schedule.due(end, phase.checkpoint_every, total):
                save_offline(this, state, end, 0)
            bar.update(end - begin)
    return state


def fit_guidance(this: Run, plan: Plan, state, dataset, start: int) -> offline.State:
    """Returns the state with a trained C-VAE and its fitted normals."""
    config, parts = this.config, this.parts
    settings = parts.guidance.cvae
    trained = 0 if plan.source else config.offline.updates
    rows = offline.held_out(parts, dataset).train
    updates = offline.make_cvae_updates(parts)
    with this.bar("C-VAE", start, settings.steps, "update") as bar:
        for begin, end in schedule.segments(
            start, settings.steps, schedule.periods(config.offline)
        ):
            state, values = updates(state, (dataset, rows), begin, length=end - begin)
            if schedule.due(end, config.offline.log_every, settings.steps):
                values = jax.device_get(values)
                steps = (trained + end, 0)
                this.writer.training("cvae", steps, values)
                bar.set_postfix_str(f"KL {np.mean(values['kl']):.3f}")
                report_failures(this, state, "C-VAE update")
            last = end == settings.steps
            if not last and schedule.due(end, config.offline.checkpoint_every, -1):
                save_offline(this, state, trained, end)
            bar.update(end - begin)
    state, findings = offline.fit_weight(parts, state, dataset)
    report_health(this, findings, trained + settings.steps)
    if not plan.source:
        save_offline(this, state, trained, settings.steps, True, findings)
    return state


def report_health(this: Run, findings: dict[str, np.ndarray], step: int) -> None:
    """Writes the examination of the C-VAE down; warns of a collapse, loudly."""
    this.writer.training("fit", (step, 0), findings)
    for index, seed in enumerate(this.parts.seeds):
        finding = {name: float(value[index]) for name, value in findings.items()}
        logs.LOGGER.info(
            "C-VAE of seed %d on held-out data: KL %.3f (the paper aims at about "
            "0.03), std of the latent means %.3f, p_int median %.3f, share active %.2f",
            seed,
            finding["kl"],
            finding["mean_std"],
            finding["p_int_q50"],
            finding["share_active"],
        )
        if finding["collapsed"]:
            text = collapse.message(finding, this.parts.guidance.cvae)
            logs.LOGGER.warning("%s\nSeed %d: %s\n%s", "!" * 72, seed, text, "!" * 72)


def save_offline(
    this: Run,
    state: offline.State,
    offline_step: int,
    cvae_step: int,
    complete: bool = False,
    findings: dict | None = None,
) -> None:
    """Saves the offline phase; the last checkpoint is what runs fork from."""
    # The last checkpoint may follow one of the same step; it needs its own number.
    step = offline_step + cvae_step + int(complete)
    meta = {
        "step": step,
        "offline_step": offline_step,
        "cvae_step": cvae_step,
        "complete": complete,
        "seeds": [int(seed) for seed in this.parts.seeds],
        "config": this.config.to_dict(),
        "observation_size": this.parts.task.observation_size,
        "action_size": this.parts.task.action_size,
        "data_source": this.data_source,
        "table_lengths": this.writer.lengths(),
        "findings": {k: v.tolist() for k, v in (findings or {}).items()},
    }
    this.offline_store.save(step, state, {"empty": np.zeros(1)}, meta)
