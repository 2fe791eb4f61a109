"""The online phase: one environment step and its updates as one compiled call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from samg_jax.data import replay, sampling
from samg_jax.envs import vector
from samg_jax.experiment import spec
from samg_jax.experiment.datasets import Preprocessing
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import guided_target, weights
from samg_jax.training import devices, handover, offline_phase, seed_axis
from samg_jax.types import Batch, Metrics, shared, unguided


class State(struct.PyTreeNode):
    """Everything the online phase changes or reads, for all seeds; arrays only.

    In a sweep `S` counts replicas, each a seed with its own values of the settings.

    Attributes:
        seeds: `[S]` values of the seeds.
        agent: the algorithm's state, stacked over seeds.
        guidance: `weights.Guidance` stacked over seeds, `()` without guidance.
        hyperparameters: swept hyperparameters of the algorithm, name -> `[S]`.
        buffer: replay buffer, `[S, capacity, ...]`, raw.
        preprocessing: normalizer and reward transform, shared.
        count: `[]` environment steps taken by each seed, warm-up included.
        observations: `[S, O]` raw observations on which the actions act.
        actions: `[S, A]` the actions to execute next.
        alive: `[S]` whether the seed has stayed finite.
        failed_step: `[S]` environment step (or offline update) after which it was not
            finite, -1 otherwise.
        sums: metric -> `[S]`, sums over the updates since the last log.
        summed: `[]` number of updates in the sums.
    """

    seeds: jax.Array
    agent: Any
    guidance: Any
    hyperparameters: dict[str, jax.Array]
    buffer: Batch
    preprocessing: Preprocessing = shared()
    count: jax.Array = shared()
    observations: jax.Array
    actions: jax.Array
    alive: jax.Array
    failed_step: jax.Array
    sums: Metrics
    summed: jax.Array = shared()


class EnvStep(NamedTuple):
    """The environments' response to the actions, `[S]` or `[S, O]`.

    Attributes:
        rewards: raw rewards.
        next_observations: true successors, before any reset.
        masks: 0 at true terminals, 1 elsewhere, also at time limits.
        observations: the next observations to act on, after any reset.
    """

    rewards: Any
    next_observations: Any
    masks: Any
    observations: Any


def to_env_step(step: vector.Step) -> EnvStep:
    """Returns what training needs of a step of the environments.

    As in CORL, a task that ends on the last step before the time limit is stored as a
    time limit.
    """
    terminals = step.terminals & ~step.timeouts
    return EnvStep(
        step.rewards,
        step.next_observations,
        1.0 - terminals.astype(np.float32),
        step.observations,
    )


def capacity(online: spec.Online) -> int:
    """Returns the rows of the buffer: no more than the run can fill."""
    return min(online.buffer_size, max(online.steps, 1))


def init(
    experiment: Experiment,
    online: spec.Online,
    pretrained: offline_phase.State,
    observations: jax.Array,
) -> State:
    """The state at the switch: frozen copies are made, nothing is learned yet.

    Args:
        experiment: The resolved experiment.
        online: The settings of the online phase.
        pretrained: The final state of the offline phase.
        observations: `[S, O]` first observations of the training environments.
    """
    return jax.jit(functools.partial(_init, experiment, online))(
        pretrained, observations
    )


def _init(experiment, online, pretrained, observations):
    state = before_metrics(experiment, online, pretrained, observations)
    metrics = jax.eval_shape(lambda s: _example_metrics(experiment, online, s), state)
    sums = {name: jnp.zeros(len(experiment.seeds)) for name in metrics}
    return state.replace(sums=sums, actions=make_explorer(experiment)(state))


def before_metrics(
    experiment: Experiment,
    online: spec.Online,
    pretrained: offline_phase.State,
    observations: jax.Array,
) -> State:
    """The state of `init` without the names of metrics and without actions.

    Its `sums` are empty and its actions 0: finding them requires tracing an update,
    which takes most of the time of `init` and adds next to nothing to the state's
    size.
    """
    count = len(experiment.seeds)
    axes = seed_axis.axes(pretrained.agent)
    agent = jax.vmap(experiment.online.start_online, in_axes=(axes,), out_axes=axes)(
        pretrained.agent
    )
    buffer = replay.create(
        capacity(online), experiment.task.observation_size, experiment.task.action_size
    )
    return State(
        seeds=jnp.copy(pretrained.seeds),
        agent=jax.tree.map(jnp.copy, agent),
        guidance=handover.freeze(experiment, pretrained),
        hyperparameters=handover.swept(experiment, "agent"),
        buffer=jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), buffer),
        preprocessing=jax.tree.map(jnp.copy, pretrained.preprocessing),
        count=jnp.zeros((), jnp.int32),
        observations=jnp.copy(observations),
        actions=jnp.zeros((count, experiment.task.action_size)),
        alive=jnp.copy(pretrained.alive),
        failed_step=jnp.copy(pretrained.failed_step),
        sums={},
        summed=jnp.zeros((), jnp.int32),
    )


def make_step(experiment: Experiment, online: spec.Online) -> Any:
    """Returns the compiled step `(state, env_step, dataset, turns) -> state`.

    One call stores the transition with its weight, takes `turns` updates, and draws
    the next actions. It donates the state; the dataset is None unless offline data
    are kept.
    """
    learn, explore = make_learner(experiment, online), make_explorer(experiment)

    def one(state: State, env_step: EnvStep, dataset, turns) -> State:
        state = learn(state, env_step, dataset, turns)
        return state.replace(actions=explore(state))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: State, env_step: EnvStep, dataset, turns) -> State:
        specs = devices.specs(state)
        in_specs = specs, devices.OF_SEEDS, devices.SHARED, devices.SHARED
        return devices.each(experiment.mesh, one, in_specs, specs)(
            state, env_step, dataset, turns
        )

    return step


def make_learner(
    experiment: Experiment, online: spec.Online
) -> Callable[[State, EnvStep, Any, jax.Array | int], State]:
    """The step `(state, env_step, dataset, turns) -> state`, not compiled.

    It draws no next actions: the state's actions are those just executed.
    """
    weigh = _weigher(experiment)
    update = _updater(experiment, online)
    # Minus infinity is no bound, until the episode ends; only calibration reads it.
    unknown = -jnp.inf if experiment.online_returns else 0.0

    def learn(state: State, env_step: EnvStep, dataset, turns) -> State:
        # The weight is computed once and stored with the transition, because its model
        # is frozen: it would be equal at every later update.
        stored = jax.vmap(weigh, in_axes=(0, 0, 0, 0, 0, None))(
            state.seeds,
            state.guidance,
            state.observations,
            state.actions,
            env_step.next_observations,
            state.count,
        )
        transition = Batch(
            observations=state.observations,
            actions=jnp.clip(state.actions, -1.0, 1.0),
            rewards=env_step.rewards,
            next_observations=env_step.next_observations,
            masks=env_step.masks,
            mc_returns=jnp.full_like(env_step.rewards, unknown),
            weights=stored,
        )
        buffer = replay.insert(state.buffer, transition, state.count)
        state = state.replace(
            buffer=buffer,
            count=state.count + 1,
            observations=jnp.asarray(env_step.observations),
        )
        return update(state, dataset, turns)

    return learn


def effective_weights(guidance: weights.Guidance, p: jax.Array, count: jax.Array):
    """The weights p times the strength, and 0 after the cut-off."""
    return jnp.where(count > guidance.cutoff_steps, 0.0, guidance.strength) * p


def _weigher(experiment: Experiment):
    """The function that computes the weight `[]` of one seed's new transition."""
    if experiment.guidance.weight == "none":
        return lambda seed, *_: jnp.zeros(())
    fn = weights.weights(experiment.guidance)

    def weigh(seed, guidance, observation, action, next_observation, count):
        key = seed_axis.stream(seed, "weight", count)
        rows = (observation[None], action[None], next_observation[None])
        return fn(guidance, *rows, key)[0]

    return weigh


def make_explorer(experiment: Experiment) -> Callable[[State], jax.Array]:
    """The function `state -> actions`, `[S, A]` to execute next, not compiled."""

    def explore(state: State) -> jax.Array:
        # `jax.vmap` passes the state of one seed, without the axis `S`.
        key = seed_axis.stream(state.seeds, "explore", state.count)
        observations = state.preprocessing.normalizer(state.observations[None])
        algorithm = experiment.tuned(state.hyperparameters)
        return algorithm.explore(state.agent, observations, key)[0]

    def batched(state: State) -> jax.Array:
        return jax.vmap(explore, in_axes=(seed_axis.axes(state),))(state)

    return batched


def _updater(experiment: Experiment, online: spec.Online):
    """Returns `(state, dataset, turns) -> state` after the updates of one step."""
    sample = sampling.make_sampler(online.data, online.batch_size, online.offline_share)

    def update(state: State, dataset, turn):
        # `jax.vmap` passes the state of one seed, without the axis `S`.
        key = seed_axis.stream(state.seeds, "online", state.count, turn)
        batch_key, update_key = jax.random.split(key)
        rows = sample(state.buffer, state.count, dataset, batch_key)
        batch = state.preprocessing(rows)
        guide = unguided
        if experiment.guidance.weight != "none":
            p = effective_weights(state.guidance, batch.weights, state.count)
            guide = guided_target.make_guide(state.guidance.offline, p)
        algorithm = experiment.tuned(state.hyperparameters)
        new, metrics = algorithm.update(state.agent, batch, update_key, guide)
        agent, alive = seed_axis.guard(state.agent, new, metrics, state.alive)
        return agent, alive, metrics

    def batched(state: State, dataset, turn):
        axes = seed_axis.axes(state)
        agent, alive, metrics = jax.vmap(
            update, in_axes=(axes, None, None), out_axes=(axes.agent, 0, 0)
        )(state, dataset, turn)
        failed = jnp.where(state.alive & ~alive, state.count, state.failed_step)
        return state.replace(agent=agent, alive=alive, failed_step=failed), metrics

    def updates(state: State, dataset, turns: jax.Array) -> State:
        buffer = state.buffer  # The loop only reads it, so it is not part of the carry.

        def body(turn, state):
            state, metrics = batched(state.replace(buffer=buffer), dataset, turn)
            sums = {name: state.sums[name] + metrics[name] for name in state.sums}
            return state.replace(sums=sums, summed=state.summed + 1, buffer=())

        # The number of updates is data, so this stays a loop even for one update. The
        # boundary of the loop keeps XLA from fusing the write of the buffer into the
        # read of the batch, which would copy the whole buffer at every step.

        state = jax.lax.fori_loop(0, turns, body, state.replace(buffer=()))
        return state.replace(buffer=buffer)

    return updates


def _example_metrics(experiment: Experiment, online: spec.Online, state: State):
    """Returns one seed's metrics of an update; only their names matter."""
    buffer = jax.tree.map(lambda leaf: leaf[0], state.buffer)
    agent = seed_axis.select(state.agent, 0)
    batch = replay.sample(buffer, jnp.ones((), jnp.int32), jax.random.key(0), 2)
    return experiment.online.update(agent, batch, jax.random.key(0))[1]
