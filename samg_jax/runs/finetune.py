"""The online phase of a run: from the switch to the last environment step."""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import logs
from samg_jax.data import sampling
from samg_jax.envs import vector
from samg_jax.runs import (
    environments,
    episode_counts,
    forks,
    live_run,
    schedule,
    signals,
    stepping,
    weight_checks,
)
from samg_jax.runs.live_run import Plan, Run, report_failures
from samg_jax.training import (
    devices,
    guidance_metrics,
    handover,
    offline_phase,
    online_phase,
    online_returns,
    seed_axis,
)


def run_online(this: Run, plan: Plan, pretrained: offline_phase.State | None) -> None:
    """Fine-tunes to the end, from the switch or from a checkpoint."""
    this.spread()
    config, parts = this.config, this.parts
    this.restart = environments.make_restart(parts)
    env = vector.make(
        parts.task.env_id,
        len(parts.seeds),
        seed_axis.host_seeds(parts.seeds, "training"),
        parts.physics,
        config.evaluation.threads or None,
        parts.trial.single,
    )
    episodes = episode_counts.Episodes.empty(len(parts.seeds), parts.task.sparse)
    first = env.reset()
    start = 0
    if plan.online_meta is None:
        pretrained = handover.place(parts, pretrained)
        report_failures(this, pretrained, "update")
        pretrained = devices.put(parts.mesh, pretrained)
        init = functools.partial(online_phase.init, parts, config.online)
        state = devices.build(parts.mesh, init, pretrained, first)
        weight_checks.check_at_switch(parts, state.guidance, state.alive, first)
        offline_step = config.offline.updates if plan.source is None else 0
        if plan.source is not None:
            offline_step = forks.meta(plan.source)["offline_step"]
        _, state = score(this, (offline_step, 0), state, env, episodes)
    else:
        offline_step, start = plan.online_meta["offline_step"], plan.online_meta["step"]
        like = jax.eval_shape(
            lambda empty: online_phase.init(parts, config.online, empty, first),
            forks.template(parts),
        )
        state, host = this.online_store.restore(like, parts.mesh)
        live_run.check_seeds(this, state, this.online_store)
        report_failures(this, state, "step")
        episodes = episode_counts.Episodes.restore(host, parts.task.sparse)
        if host and parts.trial.exact:
            env.set_state(host)
        else:
            logs.LOGGER.info("all environments begin new episodes")
            state = begin_episodes(this, state, env, episodes)
    if start < config.online.steps:
        dataset = None
        if sampling.needs_dataset(config.online):
            dataset = devices.put_shared(parts.mesh, plan.dataset)
        fine_tune(this, state, env, episodes, dataset, offline_step)
    env.close()


def fine_tune(this: Run, state, env, episodes, dataset, offline_step: int) -> None:
    """Takes the remaining environment steps, each with its updates."""
    phase, total = this.config.online, this.config.online.steps
    clock = this.clock
    stepper = stepping.make(this.parts, phase, env, dataset, clock)
    finish = online_returns.make_finisher(this.parts, phase)
    saving = environments.Saving(this.parts, this.config.evaluation.get("max_steps"))

    draws = environments.SharedDraws(this.parts.trial)

    def save():
        draws.check(logs.LOGGER.warning)
        with clock.part("checkpoint"):
            save_online(this, state, env, episodes, offline_step)

    diagnose = guidance_metrics.make_diagnostics(this.parts, phase)
    guided = this.parts.guidance.weight != "none"
    taken = int(state.count)
    clock.restart(taken)
    with this.bar("online", taken, total, "step") as bar, stepper as advance:
        for begin, end in schedule.segments(
            taken, total, [*schedule.periods(phase), max(phase.warmup_steps, 1)]
        ):
            began = time.perf_counter()
            for count in range(begin, end):
                turns = phase.updates_per_step * (count >= phase.warmup_steps)
                more = count + 1 < end
                state, outcome = advance(state, turns, more and not saving.pending)
                episodes.add(outcome)
                with clock.part("update"):
                    state = finish(state, outcome)
                bar.update()
                if more and saving.reached(outcome.dones):
                    save()
                # With overlap, steps are in motion before the range's end.
                if more and not phase.overlap and signals.asked():
                    save()
                    raise signals.Terminated
            ended = outcome.dones
            steps = (offline_step, end)
            first = guided and end == max(phase.warmup_steps, 1)
            if first or schedule.due(end, phase.log_every, total):
                values = jax.device_get(diagnose(state)) if guided else {}
                state, means = take_means(state)
                this.writer.training("online", steps, {**values, **means})
            if schedule.due(end, phase.log_every, total):
                this.writer.training("online", steps, episodes.take())
                rate = (end - begin) / (time.perf_counter() - began)
                this.writer.rate("online", steps, rate)
                report_failures(this, state, "environment step")
            if any(
                schedule.due(end, every, total)
                for every in (phase.log_every, phase.eval_every)
            ):
                this.writer.training("online", steps, episodes.regret())
            if schedule.due(end, phase.eval_every, total):
                with clock.part("evaluation"):
                    text, state = score(this, steps, state, env, episodes)
                bar.set_postfix_str(f"score {text}")
                ended = ended | this.parts.trial.single
            if end < total and signals.asked():
                save()
                raise signals.Terminated
            if schedule.due(end, phase.checkpoint_every, total):
                saving.ask()
            if saving.reached(ended) or end == total:
                save()
            if schedule.due(end, phase.log_every, total):
                clock.lap(end)


def score(this: Run, steps, state, env, episodes) -> tuple[str, online_phase.State]:
    """Evaluates; returns the scores, and the state to go on with.

    An environment that is built only once has played the evaluation: new episodes of
    training begin.
    """
    text = this.score("online", steps, state)
    if this.parts.trial.single:
        state = begin_episodes(this, state, env, episodes)
    return text, state


def begin_episodes(this: Run, state, env, episodes) -> online_phase.State:
    """Begins new episodes everywhere; those under way are nowhere counted as ended."""
    episodes.interrupt()
    first = env.reset(environments.new_seeds(this.parts, int(state.count)))
    return this.restart(state, first)


def take_means(
    state: online_phase.State,
) -> tuple[online_phase.State, dict[str, np.ndarray]]:
    """Returns the state with its sums at 0, and their means so far."""
    sums, summed = jax.device_get((state.sums, state.summed))
    zeros = jax.tree.map(jnp.zeros_like, (state.sums, state.summed))
    state = state.replace(sums=zeros[0], summed=zeros[1])
    if summed == 0:
        return state, {}
    return state, {name: value / summed for name, value in sums.items()}


def save_online(this: Run, state, env, episodes, offline_step: int) -> None:
    """Saves all that a resume needs, simulators included if they can be saved."""
    exact = this.parts.trial.exact
    host = {**(env.get_state() if exact else {}), **episodes.arrays()}
    about = {
        "step": int(state.count),
        "offline_step": offline_step,
        "resume": "exact" if exact else "episode boundaries",
    }
    meta, files = live_run.describe(this, about)
    with signals.finished_first():
        this.online_store.save(int(state.count), state, host, meta, files)
