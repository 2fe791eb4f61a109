"""The online phase: one environment step and its updates as one compiled call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import struct

from samg_jax.data import replay, sampling
from samg_jax.envs import vector
from samg_jax.experiment import resolution
from samg_jax.experiment.resolution import Parts, Preprocessing
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


class Feedback(NamedTuple):
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


def to_feedback(step: vector.Step) -> Feedback:
    """The part of an environment step that training needs.

    As in CORL, a task that ends on the last step before the time limit is stored as a
    time limit.
    """
    terminals = step.terminals & ~step.timeouts
    return Feedback(
        step.rewards,
        step.next_observations,
        1.0 - terminals.astype(np.float32),
        step.observations,
    )


def capacity(online: ml_collections.ConfigDict) -> int:
    """The number of rows of the buffer, no more than the run can fill."""
    return min(online.buffer_size, max(online.steps, 1))


def init(
    parts: Parts,
    online: ml_collections.ConfigDict,
    pretrained: offline_phase.State,
    observations: jax.Array,
) -> State:
    """The state at the switch: frozen copies are made, nothing is learned yet.

    Args:
        parts: The resolved experiment.
        online: The settings of the online phase.
        pretrained: The final state of the offline phase.
        observations: `[S, O]` first observations of the training environments.
    """
    return jax.jit(functools.partial(_init, parts, online))(pretrained, observations)


def _init(parts, online, pretrained, observations):
    state = before_metrics(parts, online, pretrained, observations)
    metrics = jax.eval_shape(lambda s: _example_metrics(parts, online, s), state)
    sums = {name: jnp.zeros(len(parts.seeds)) for name in metrics}
    return state.replace(sums=sums, actions=make_explorer(parts)(state))


def before_metrics(
    parts: Parts,
    online: ml_collections.ConfigDict,
    pretrained: offline_phase.State,
    observations: jax.Array,
) -> State:
    """The state of `init` without the names of metrics and without actions.

    Its `sums` are empty and its actions 0: finding them requires tracing an update,
    which takes most of the time of `init` and adds next to nothing to the state's
    size.
    """
    count = len(parts.seeds)
    axes = seed_axis.axes(pretrained.agent)
    agent = jax.vmap(parts.online.start_online, in_axes=(axes,), out_axes=axes)(
        pretrained.agent
    )
    buffer = replay.create(
        capacity(online), parts.task.observation_size, parts.task.action_size
    )
    return State(
        seeds=jnp.copy(pretrained.seeds),
        agent=jax.tree.map(jnp.copy, agent),
        guidance=handover.freeze(parts, pretrained),
        hyperparameters=handover.swept(parts, "agent"),
        buffer=jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), buffer),
        preprocessing=jax.tree.map(jnp.copy, pretrained.preprocessing),
        count=jnp.zeros((), jnp.int32),
        observations=jnp.copy(observations),
        actions=jnp.zeros((count, parts.task.action_size)),
        alive=jnp.copy(pretrained.alive),
        failed_step=jnp.copy(pretrained.failed_step),
        sums={},
        summed=jnp.zeros((), jnp.int32),
    )


def make_step(parts: Parts, online: ml_collections.ConfigDict) -> Callable[..., State]:
    """Compile the step `(state, feedback, dataset, turns) -> state`.

    One call stores the transition with its weight, takes `turns` updates, and draws
    the next actions. It donates the state; the dataset is None unless offline data
    are kept.
    """
    learn, explore = make_learner(parts, online), make_explorer(parts)

    def one(state: State, feedback: Feedback, dataset, turns) -> State:
        state = learn(state, feedback, dataset, turns)
        return state.replace(actions=explore(state))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: State, feedback: Feedback, dataset, turns) -> State:
        specs = devices.specs(state)
        in_specs = specs, devices.OF_SEEDS, devices.SHARED, devices.SHARED
        return devices.each(parts.mesh, one, in_specs, specs)(
            state, feedback, dataset, turns
        )

    return step


def make_learner(
    parts: Parts, online: ml_collections.ConfigDict
) -> Callable[[State, Feedback, Any, jax.Array | int], State]:
    """The step `(state, feedback, dataset, turns) -> state`, not compiled.

    It draws no next actions: the state's actions are those just executed.
    """
    weigh = _weigher(parts)
    update = _updater(parts, online)
    # Minus infinity is no bound, until the episode ends; only calibration reads it.
    unknown = -jnp.inf if parts.online_returns else 0.0

    def learn(state: State, feedback: Feedback, dataset, turns) -> State:
        # The weight is computed once and stored with the transition, because its model
        # is frozen: it would be equal at every later update.
        stored = jax.vmap(weigh, in_axes=(0, 0, 0, 0, 0, None))(
            state.seeds,
            state.guidance,
            state.observations,
            state.actions,
            feedback.next_observations,
            state.count,
        )
        transition = Batch(
            observations=state.observations,
            actions=jnp.clip(state.actions, -1.0, 1.0),
            rewards=feedback.rewards,
            next_observations=feedback.next_observations,
            masks=feedback.masks,
            mc_returns=jnp.full_like(feedback.rewards, unknown),
            weights=stored,
        )
        buffer = replay.insert(state.buffer, transition, state.count)
        state = state.replace(
            buffer=buffer,
            count=state.count + 1,
            observations=jnp.asarray(feedback.observations),
        )
        return update(state, dataset, turns)

    return learn


def effective_weights(guidance: weights.Guidance, p: jax.Array, count: jax.Array):
    """The weights p times the strength, and 0 after the cut-off."""
    return jnp.where(count > guidance.cutoff_steps, 0.0, guidance.strength) * p


def _weigher(parts: Parts):
    """The function that computes the weight `[]` of one seed's new transition."""
    if parts.guidance.weight == "none":
        return lambda seed, *_: jnp.zeros(())
    fn = weights.weights(parts.guidance)

    def weigh(seed, guidance, observation, action, next_observation, count):
        key = seed_axis.stream(seed, "weight", count)
        rows = (observation[None], action[None], next_observation[None])
        return fn(guidance, *rows, key)[0]

    return weigh


def make_explorer(parts: Parts) -> Callable[[State], jax.Array]:
    """The function `state -> actions`, `[S, A]` to execute next, not compiled."""

    def explore(seed, agent, hyperparameters, observation, preprocessing, count):
        key = seed_axis.stream(seed, "explore", count)
        observations = preprocessing.normalizer(observation[None])
        algorithm = resolution.tuned(parts, hyperparameters)
        return algorithm.explore(agent, observations, key)[0]

    def batched(state: State) -> jax.Array:
        axes = (0, seed_axis.axes(state.agent), 0, 0, None, None)
        return jax.vmap(explore, in_axes=axes)(
            state.seeds,
            state.agent,
            state.hyperparameters,
            state.observations,
            state.preprocessing,
            state.count,
        )

    return batched


def _updater(parts: Parts, online: ml_collections.ConfigDict):
    """The function `(state, dataset, turns) -> state` with the updates of one step."""
    sample = sampling.make_sampler(online)

    def update(
        seed,
        agent,
        alive,
        guidance,
        hyperparameters,
        buffer,
        preprocessing,
        dataset,
        count,
        turn,
    ):
        key = seed_axis.stream(seed, "online", count, turn)
        batch_key, update_key = jax.random.split(key)
        batch = preprocessing(sample(buffer, count, dataset, batch_key))
        guide = unguided
        if parts.guidance.weight != "none":
            # Strength and cut-off apply here and not when p is stored, so that they act
            # on old transitions, too.
            p = effective_weights(guidance, batch.weights, count)
            guide = guided_target.make_guide(guidance.offline, p)
        algorithm = resolution.tuned(parts, hyperparameters)
        new, metrics = algorithm.update(agent, batch, update_key, guide)
        agent, alive = seed_axis.guard(agent, new, metrics, alive)
        return agent, alive, metrics

    def batched(state: State, dataset, turn):
        axes = seed_axis.axes(state.agent)
        agent, alive, metrics = jax.vmap(
            update,
            in_axes=(0, axes, 0, 0, 0, 0, None, None, None, None),
            out_axes=(axes, 0, 0),
        )(
            state.seeds,
            state.agent,
            state.alive,
            state.guidance,
            state.hyperparameters,
            state.buffer,
            state.preprocessing,
            dataset,
            state.count,
            turn,
        )
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


def _example_metrics(parts: Parts, online: ml_collections.ConfigDict, state: State):
    """One seed's metrics of an update, of which only the names are used."""
    buffer = jax.tree.map(lambda leaf: leaf[0], state.buffer)
    agent = seed_axis.select(state.agent, 0)
    batch = replay.sample(buffer, jnp.ones((), jnp.int32), jax.random.key(0), 2)
    return parts.online.update(agent, batch, jax.random.key(0))[1]
