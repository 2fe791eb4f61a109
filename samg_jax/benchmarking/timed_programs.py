"""The trainer's own compiled programs, with real states, ready to be timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from samg_jax.algorithms import cql
from samg_jax.benchmarking.benchmark_cases import Case
from samg_jax.data import replay, sampling, transitions
from samg_jax.envs import tasks
from samg_jax.experiment import datasets
from samg_jax.experiment.datasets import Preprocessing
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import guided_target
from samg_jax.runs import schedule
from samg_jax.training import offline_phase, online_phase, seed_axis
from samg_jax.types import Batch, unguided

FITTED = 1_000  # The number of rows to which the weight is fitted.
CUT = 0.5  # The share of the stored weights that are 0.


class Data(NamedTuple):
    """The trainer's form of the offline data; one copy for all cases.

    Attributes:
        dataset: the dataset, on the device.
        preprocessing: the preprocessing fitted to it.
        columns: its observations, actions and next observations on the host.
    """

    dataset: Any
    preprocessing: Preprocessing
    columns: tuple[np.ndarray, ...]


class Prepared(NamedTuple):
    """A function of the trainer before it is compiled.

    Attributes:
        case: the case.
        experiment: its experiment.
        state: the first argument of the function, donated.
        lower: `(state, chunk) -> jax.stages.Lowered`.
        call: `(compiled, state, updates so far, chunk) -> state`.
        batch_size: the number of rows of an update.
    """

    case: Case
    experiment: Experiment
    state: Any
    lower: Callable[[Any, int], Any]
    call: Callable[[Any, Any, int, int], Any]
    batch_size: int


class Program:
    """A compiled program of the trainer, and the state that it advances.

    Attributes:
        prepared: the function before compilation; the first call consumes its state.
        chunk: the number of updates of one call, for every seed.
        compiled: the compiled program, with the compiler's reports about it.
        state: the trainer's state after the updates so far.
    """

    def __init__(self, prepared: Prepared, chunk: int):
        self.prepared, self.chunk, self.state = prepared, chunk, prepared.state
        self._done = 0
        self.compiled = prepared.lower(self.state, chunk).compile()

    def call(self) -> None:
        """Takes `chunk` updates of all seeds, and waits for them."""
        self.state = self.prepared.call(
            self.compiled, self.state, self._done, self.chunk
        )
        jax.block_until_ready(self.state)
        self._done += self.chunk

    def rate(self, seconds: float) -> float:
        """Updates per second of each seed, measured over at least `seconds`.

        Raises:
            RuntimeError: A seed is not finite, so it does not move any more.
        """
        began, calls, passed = time.perf_counter(), 0, 0.0
        while calls == 0 or passed < seconds:
            self.call()
            calls += 1
            passed = time.perf_counter() - began
        if not np.asarray(self.state.alive).all():
            raise RuntimeError(f"A seed of {self.prepared.case} became non-finite.")
        return calls * self.chunk / passed


def load(experiment: Experiment) -> Data:
    """The data of an experiment as the trainer loads them."""
    return to_device(*datasets.load(experiment, _quiet, _quiet)[:2])


def to_device(dataset: transitions.Dataset, preprocessing: Preprocessing) -> Data:
    """Loaded data, with one copy on the device."""
    columns = dataset.observations, dataset.actions, dataset.next_observations
    return Data(jax.device_put(dataset), preprocessing, columns)


def prepare(case: Case, experiment: Experiment, data: Data) -> Prepared:
    """Returns the trainer's function for a case, with a real state.

    Args:
        case: what is measured.
        experiment: The resolved experiment of the case.
        data: on the device.
    """
    measured = (
        None if experiment.model is None else experiment.model.measure(*data.columns)
    )
    pretrained = offline_phase.init(experiment, data.preprocessing, measured)
    # SPOT trains its autoencoder first; what is timed is what comes after.
    first = getattr(experiment.algorithm.config, "vae_steps", None)
    if first is not None:
        step = jnp.asarray(first, jnp.int32)
        pretrained = pretrained.replace(agent=pretrained.agent.replace(step=step))
    kind = _offline if case.phase == "offline" else _online
    return Prepared(case, experiment, *kind(experiment, pretrained, data))


def flops(prepared: Prepared) -> float:
    """The FLOPs of one update of all seeds, as counted by the compiler.

    They cover the algorithm's update alone, with its guidance but without random draws
    and rows. The update is compiled for the host, because the compiler knows no count
    for what a library computes on a GPU. The compiler counts the longer branch of a
    condition, but a delayed policy takes it only in one of `policy_delay` updates; each
    of these is therefore compiled for a constant step and counted separately.

    Args:
        prepared: The prepared function of any phase.

    Raises:
        RuntimeError: JAX has no `cpu` backend because of `JAX_PLATFORMS`.
    """
    case, experiment = prepared.case, prepared.experiment
    algorithm = experiment.algorithm if case.phase == "offline" else experiment.online
    guidance = getattr(prepared.state, "guidance", ())
    frozen = guidance.offline if guidance else ()
    one = seed_axis.select((prepared.state.agent, frozen), 0)
    start = int(one[0].step)
    shapes = jax.eval_shape(lambda: one)
    batch = _batch_shapes(experiment.task, prepared.batch_size)

    def count(offset: int) -> float:
        def update(agent, frozen, batch, key):
            agent = agent.replace(step=np.int32(start + offset))
            guide = unguided
            if guidance:
                guide = guided_target.make_guide(frozen, batch.weights)
            return algorithm.update(agent, batch, key, guide)

        lowered = jax.jit(update).lower(*shapes, batch, jax.random.key(0))
        return float(lowered.compile().cost_analysis()["flops"])

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        delay = getattr(algorithm.config, "policy_delay", 1)
        return case.seeds * float(np.mean([count(offset) for offset in range(delay)]))


def matrices(prepared: Prepared) -> tuple[int, int, int]:
    """The number of products that the networks take at once, and their shape.

    The result is the number of left matrices, their rows, and their width: both critics
    of all seeds in a hidden layer. CQL's score the proposed actions of a call.

    Args:
        prepared: The prepared function of any phase.
    """
    case, rows = prepared.case, prepared.batch_size
    settings = prepared.experiment.algorithm.config
    ensemble = 1 if case.algorithm == "bc" else 2
    if case.algorithm in ("cql", "cal_ql"):
        rows *= cql.KINDS * settings.num_samples // cql.proposal_calls()
        return ensemble * case.seeds, rows, settings.critic_hidden_dims[0]
    return ensemble * case.seeds, rows, settings.hidden_dims[0]


def chunk_of(operations: float, rate: float, seconds: float) -> int:
    """The number of updates with which a call lasts `seconds` at `rate` FLOP/s.

    It is a multiple of the blocks after which the trainer checks for failed seeds, and
    at most the trainer's own number of updates in a call.

    Args:
        operations: The FLOPs of an update of all seeds.
        rate: The speed in FLOP/s.
        seconds: The wanted duration.
    """
    blocks = int(seconds * rate / operations) // offline_phase.LOOK_EVERY
    return min(max(blocks, 1) * offline_phase.LOOK_EVERY, schedule.LONGEST_CHUNK)


def _offline(experiment, pretrained, data) -> tuple[Any, ...]:
    """Returns the scan of offline updates: the fields of `Prepared` from `state` on."""
    batch_size = experiment.settings.offline.batch_size
    updates = offline_phase.make_updates(experiment, batch_size)
    return (
        pretrained,
        lambda state, chunk: updates.lower(state, data.dataset, 0, length=chunk),
        lambda compiled, state, done, chunk: compiled(state, data.dataset, done)[0],
        batch_size,
    )


def _online(experiment, pretrained, data) -> tuple[Any, ...]:
    """Returns the same for fine-tuning: a chunk is one step with so many updates."""
    replicas, size = len(experiment.seeds), experiment.task.observation_size
    # As many rows as the buffer has at most, and the data can fill.
    online = experiment.settings.online
    rows = min(online_phase.capacity(online), len(data.dataset.rewards))
    online = dataclasses.replace(online, buffer_size=rows)
    if experiment.model is not None:
        # The model is untrained; without a fit, new weights would be no numbers.
        few = tuple(column[:FITTED] for column in data.columns)
        weight = experiment.model.fit(pretrained.model, *few)
        pretrained = pretrained.replace(weight=jax.tree.map(jnp.copy, weight))
    first = np.zeros((replicas, size), np.float32)
    state = online_phase.init(experiment, online, pretrained, first)
    state = _fill(state, data.dataset, rows)
    step = online_phase.make_step(experiment, online)
    number = np.zeros(replicas, np.float32)
    env_step = online_phase.EnvStep(number, first, number + 1, first)
    dataset = data.dataset if online.reads_dataset else None
    return (
        state,
        lambda state, chunk: step.lower(state, env_step, dataset, chunk),
        lambda compiled, state, done, chunk: compiled(state, env_step, dataset, chunk),
        online.batch_size,
    )


def _fill(state: online_phase.State, dataset: Any, rows: int) -> online_phase.State:
    """A state with offline rows, and weights, in its buffers."""
    batch = sampling.as_batch(dataset, jnp.arange(rows))
    p = jax.random.uniform(jax.random.key(0), (rows,))
    batch = batch.replace(weights=jnp.where(p < CUT, 0.0, p))
    buffer = jax.tree.map(
        lambda leaf, empty: jnp.copy(jnp.broadcast_to(leaf, empty.shape)),
        batch,
        state.buffer,
    )
    return state.replace(buffer=buffer, count=jnp.asarray(rows, jnp.int32))


def _batch_shapes(task: tasks.Task, rows: int) -> Batch:
    """The shapes of a batch of `rows` rows."""
    return jax.eval_shape(
        lambda: replay.create(rows, task.observation_size, task.action_size)
    )


def _quiet(message: str) -> None:
    """Drops the trainer's messages about its data, which are random."""
    del message
