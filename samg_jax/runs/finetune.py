"""The online phase of a run: from the switch to the last environment step."""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax import logs
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
from samg_jax.runs.live_run import ResumePlan, Run, report_failures
from samg_jax.training import (
    devices,
    guidance_metrics,
    handover,
    offline_phase,
    online_phase,
    online_returns,
    seed_axis,
)


def run_online(
    run: Run, plan: ResumePlan, pretrained: offline_phase.State | None
) -> None:
    """Fine-tunes to the end, from the switch or from a checkpoint."""
    run.spread()
    experiment, settings = run.experiment, run.experiment.settings
    run.restart = environments.make_restart(experiment)
    env = vector.make(
        experiment.task.env_id,
        len(experiment.seeds),
        seed_axis.host_seeds(experiment.seeds, "training"),
        experiment.physics,
        settings.evaluation.threads or None,
        experiment.trial.single,
    )
    episodes = episode_counts.Episodes.empty(
        len(experiment.seeds), experiment.task.sparse
    )
    first = env.reset()
    start = 0
    if plan.online_meta is None:
        pretrained = handover.to_replicas(experiment, pretrained)
        report_failures(run, pretrained, "update")
        pretrained = devices.put(experiment.mesh, pretrained)
        init = functools.partial(online_phase.init, experiment, settings.online)
        state = devices.build(experiment.mesh, init, pretrained, first)
        weight_checks.check_at_switch(experiment, state.guidance, state.alive, first)
        offline_step = settings.offline.updates if plan.source is None else 0
        if plan.source is not None:
            offline_step = forks.meta(plan.source)["offline_step"]
        _, state = score(run, (offline_step, 0), state, env, episodes)
    else:
        offline_step, start = plan.online_meta["offline_step"], plan.online_meta["step"]
        like = jax.eval_shape(
            lambda empty: online_phase.init(experiment, settings.online, empty, first),
            forks.template(experiment),
        )
        state, host = run.online_store.restore(like, experiment.mesh)
        live_run.check_seeds(run, state, run.online_store)
        report_failures(run, state, "step")
        episodes = episode_counts.Episodes.restore(host, experiment.task.sparse)
        if host and experiment.trial.exact:
            env.set_state(host)
        else:
            logs.LOGGER.info("all environments begin new episodes")
            state = begin_episodes(run, state, env, episodes)
    if start < settings.online.steps:
        dataset = None
        if settings.online.reads_dataset:
            dataset = devices.put_shared(experiment.mesh, plan.dataset)
        fine_tune(run, state, env, episodes, dataset, offline_step)
    env.close()


def fine_tune(run: Run, state, env, episodes, dataset, offline_step: int) -> None:
    """Takes the remaining environment steps, each with its updates."""
    phase = run.experiment.settings.online
    total = phase.steps
    clock = run.clock
    stepper = stepping.make(run.experiment, phase, env, dataset, clock)
    finish = online_returns.make_finisher(run.experiment, phase)
    saving = environments.Saving(run.experiment)

    draws = environments.SharedDraws(run.experiment.trial)

    def save():
        draws.check(logs.LOGGER.warning)
        with clock.part("checkpoint"):
            save_online(run, state, env, episodes, offline_step)

    diagnose = guidance_metrics.make_diagnostics(run.experiment, phase)
    guided = run.experiment.guidance.weight != "none"
    taken = int(state.count)
    clock.restart(taken)
    with run.bar("online", taken, total, "step") as bar, stepper as advance:
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
                run.writer.training("online", steps, {**values, **means})
            if schedule.due(end, phase.log_every, total):
                run.writer.training("online", steps, episodes.take())
                rate = (end - begin) / (time.perf_counter() - began)
                run.writer.rate("online", steps, rate)
                report_failures(run, state, "environment step")
            if any(
                schedule.due(end, every, total)
                for every in (phase.log_every, phase.eval_every)
            ):
                run.writer.training("online", steps, episodes.regret())
            if schedule.due(end, phase.eval_every, total):
                with clock.part("evaluation"):
                    text, state = score(run, steps, state, env, episodes)
                bar.set_postfix_str(f"score {text}")
                ended = ended | run.experiment.trial.single
            if end < total and signals.asked():
                save()
                raise signals.Terminated
            if schedule.due(end, phase.checkpoint_every, total):
                saving.ask()
            if saving.reached(ended) or end == total:
                save()
            if schedule.due(end, phase.log_every, total):
                clock.lap(end)


def score(run: Run, steps, state, env, episodes) -> tuple[str, online_phase.State]:
    """Evaluates; returns the scores, and the state to go on with.

    An environment that is built only once has played the evaluation: new episodes of
    training begin.
    """
    text = run.score("online", steps, state)
    if run.experiment.trial.single:
        state = begin_episodes(run, state, env, episodes)
    return text, state


def begin_episodes(run: Run, state, env, episodes) -> online_phase.State:
    """Begins new episodes everywhere; those under way are nowhere counted as ended."""
    episodes.interrupt()
    first = env.reset(environments.new_seeds(run.experiment, int(state.count)))
    return run.restart(state, first)


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


def save_online(run: Run, state, env, episodes, offline_step: int) -> None:
    """Saves all that a resume needs, simulators included if they can be saved."""
    exact = run.experiment.trial.exact
    host = {**(env.get_state() if exact else {}), **episodes.arrays()}
    about = {
        "step": int(state.count),
        "offline_step": offline_step,
        "resume": "exact" if exact else "episode boundaries",
    }
    meta, files = live_run.describe(run, about)
    with signals.finished_first():
        run.online_store.save(int(state.count), state, host, meta, files)
