"""How environments and updates take turns: one after the other, or side by side."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import jax
import numpy as np

from samg_jax.envs import vector
from samg_jax.experiment import spec
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import stopwatch
from samg_jax.training import devices, online_phase

# (state, updates to take, whether another step follows at once) -> state, and what the
# environments answered.
Advance = Callable[[online_phase.State, int, bool], tuple[Any, vector.Step]]


@contextlib.contextmanager
def make(
    experiment: Experiment,
    settings: spec.Online,
    env: vector.VectorEnv,
    dataset: Any,
    clock: stopwatch.Clock,
) -> Iterator[Advance]:
    """Yields what takes one environment step with its updates.

    Args:
        experiment: The resolved experiment.
        settings: of the online phase.
        env: training environments, one per seed.
        dataset: on the device, None unless fine-tuning reads it.
        clock: receives how long the host waits for environments and for updates.
    """
    if not settings.overlap:
        yield _make_strict(experiment, settings, env, dataset, clock)
        return
    with futures.ThreadPoolExecutor(1, "environments") as thread:
        yield _make_overlapped(experiment, settings, env, dataset, clock, thread)


def _make_strict(experiment, settings, env, dataset, clock) -> Advance:
    step = online_phase.make_step(experiment, settings)

    def advance(state, turns, more):
        del more
        with clock.part("update"):  # Waits for the one before.
            actions = np.asarray(state.actions)
        with clock.part("environment"):
            outcome = env.step(actions)
        with clock.part("update"):
            env_step = online_phase.to_env_step(outcome)
            return step(state, env_step, dataset, turns), outcome

    return advance


def _make_overlapped(experiment, settings, env, dataset, clock, thread) -> Advance:
    """Returns the step in which the environments do not wait for the updates.

    The next actions are those of the policy before the updates of this step, so that
    the environments execute them meanwhile. The draws are those of the strict order.
    Where no step follows at once, the actions wait in the state, as in the strict
    order; what is logged, evaluated or saved then has no part in motion.

    The clock is told what holds the loop up: it is in `environment` only while the
    environments step, and only where they are done later than the updates beside them;
    any other waiting is in `update`.
    """
    act, learn = make_programs(experiment, settings)
    running = None

    def execute(actions):
        actions = np.asarray(actions)  # Waits for the device, too.
        began = time.perf_counter()
        return env.step(actions), began

    def advance(state, turns, more):
        nonlocal running
        if running is None:
            running = thread.submit(execute, state.actions)
        began = time.perf_counter()
        outcome, stepped = running.result()
        now, last = time.perf_counter(), state.count.is_ready()
        alone = now - max(began, stepped) if last else 0.0
        clock.add("environment", alone)
        clock.add("update", now - began - alone)
        with clock.part("update"):
            actions = act(state, outcome.observations)
            running = thread.submit(execute, actions) if more else None
            env_step = online_phase.to_env_step(outcome)
            return learn(state, env_step, actions, dataset, turns), outcome

    return advance


def make_programs(
    experiment: Experiment, settings: spec.Online
) -> tuple[Callable[..., jax.Array], Callable[..., online_phase.State]]:
    """Returns the two compiled calls of an overlapped step.

    They are `(state, observations) -> actions`, `[S, A]` for the observations after
    this step, and `(state, env_step, actions, dataset, turns) -> state`, which donates
    the state and puts the actions into it.
    """
    explore = online_phase.make_explorer(experiment)
    store_and_update = online_phase.make_learner(experiment, settings)

    def next_actions(state, observations):
        # As the strict order would have it, but for the agent.
        state = state.replace(observations=observations, count=state.count + 1)
        return explore(state)

    def take(state, env_step, actions, dataset, turns):
        state = store_and_update(state, env_step, dataset, turns)
        return state.replace(actions=actions)

    @jax.jit
    def act(state, observations):
        seeds = devices.OF_SEEDS
        in_specs = devices.specs(state), seeds
        return devices.each(experiment.mesh, next_actions, in_specs, seeds)(
            state, observations
        )

    @functools.partial(jax.jit, donate_argnums=0)
    def learn(state, env_step, actions, dataset, turns):
        specs, seeds, shared = devices.specs(state), devices.OF_SEEDS, devices.SHARED
        in_specs = specs, seeds, seeds, shared, shared
        return devices.each(experiment.mesh, take, in_specs, specs)(
            state, env_step, actions, dataset, turns
        )

    return act, learn
