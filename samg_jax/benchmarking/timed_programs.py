"""The trainer's own compiled programs, with real states, ready to be timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from samg_jax.algorithms import cql
from samg_jax.benchmarking.benchmark_cases import Case
from samg_jax.data import replay, sampling, transitions
from samg_jax.envs import tasks
from samg_jax.experiment import resolution
from samg_jax.experiment.resolution import Parts, Preprocessing
from samg_jax.guidance import guided_target
from samg_jax.runs import schedule
from samg_jax.training import offline_phase, online_phase, seed_axis
from samg_jax.types import Batch, unguided

FITTED = 1_000  # Rows that the weight is fitted to.
CUT = 0.5  # Share of the stored weights that are 0.


class Data(NamedTuple):
    """What the trainer makes of the offline data; one copy for all cases.

    Attributes:
        dataset: on the device.
        preprocessing: fitted to it.
        columns: the same observations, actions and next observations on the host.
    """

    dataset: Any
    preprocessing: Preprocessing
    columns: tuple[np.ndarray, ...]


class Prepared(NamedTuple):
    """A function of the trainer before it is compiled.

    Attributes:
        case: what is measured.
        parts: of its experiment.
        state: first argument of the function, donated.
        lower: `(state, chunk) -> jax.stages.Lowered`.
        call: `(compiled, state, updates so far, chunk) -> state`.
        batch_size: rows of an update.
    """

    case: Case
    parts: Parts
    state: Any
    lower: Callable[[Any, int], Any]
    call: Callable[[Any, Any, int, int], Any]
    batch_size: int


class Program:
    """A compiled program of the trainer, and the state that it advances.

    Attributes:
        prepared: what was compiled; its state is gone with the first call.
        chunk: updates of one call, of every seed.
        compiled: with what the compiler says of it.
        state: the trainer's, after the updates so far.
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
        """Returns updates per second of each seed, over at least so many seconds.

        Raises:
            RuntimeError: where a seed is not finite, so that nothing moves any more.
        """
        began, calls, passed = time.perf_counter(), 0, 0.0
        while calls == 0 or passed < seconds:
            self.call()
            calls += 1
            passed = time.perf_counter() - began
        if not np.asarray(self.state.alive).all():
            raise RuntimeError(f"A seed of {self.prepared.case} became non-finite.")
        return calls * self.chunk / passed


def load(config: ml_collections.ConfigDict) -> Data:
    """Returns the data of a config as the trainer loads them."""
    task = resolution.resolve_task(config)
    return to_device(*resolution.load_dataset(config, task, _quiet, _quiet)[:2])


def to_device(dataset: transitions.Dataset, preprocessing: Preprocessing) -> Data:
    """Returns loaded data with their one copy on the device."""
    columns = dataset.observations, dataset.actions, dataset.next_observations
    return Data(jax.device_put(dataset), preprocessing, columns)


def prepare(case: Case, config: ml_collections.ConfigDict, data: Data) -> Prepared:
    """Returns the trainer's function for a case, with a real state.

    Args:
        case: what is measured.
        config: its, from `benchmark_cases.load`.
        data: on the device.
    """
    parts = resolution.resolve(config)
    measured = None if parts.model is None else parts.model.measure(*data.columns)
    pretrained = offline_phase.init(parts, data.preprocessing, measured)
    # SPOT trains its autoencoder first; what is timed is what comes after.
    if "vae_steps" in config.agent:
        step = jnp.asarray(config.agent.vae_steps, jnp.int32)
        pretrained = pretrained.replace(agent=pretrained.agent.replace(step=step))
    kind = _offline if case.phase == "offline" else _online
    return Prepared(case, parts, *kind(config, parts, pretrained, data))


def flops(prepared: Prepared) -> float:
    """Returns the FLOPs of one update of all seeds, by the compiler's count.

    Of the algorithm's update alone, with its guidance but without draws and rows,
    compiled for the host: of what a library computes on a GPU the compiler knows no
    number. It counts the longer branch of a condition, but a delayed policy takes it in
    one of `policy_delay` updates; compiled for a constant step, each is counted as it
    is.

    Args:
        prepared: of any phase.

    Raises:
        RuntimeError: of JAX, where `JAX_PLATFORMS` leaves out the host's `cpu`.
    """
    case, parts = prepared.case, prepared.parts
    algorithm = parts.algorithm if case.phase == "offline" else parts.online
    guidance = getattr(prepared.state, "guidance", ())
    frozen = guidance.offline if guidance else ()
    one = seed_axis.select((prepared.state.agent, frozen), 0)
    start = int(one[0].step)
    shapes = jax.eval_shape(lambda: one)
    batch = _batch_shapes(parts.task, prepared.batch_size)

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
    """Returns how many products its networks take at once, and their shape.

    The number of left matrices, their rows, and their width: both critics of all
    seeds in a hidden layer. CQL's see the proposed actions that they score in a call.

    Args:
        prepared: of any phase.
    """
    case, rows = prepared.case, prepared.batch_size
    settings = prepared.parts.algorithm.config
    ensemble = 1 if case.algorithm == "bc" else 2
    if case.algorithm in ("cql", "cal_ql"):
        rows *= cql.KINDS * settings.num_samples // cql.proposal_calls()
        return ensemble * case.seeds, rows, settings.critic_hidden_dims[0]
    return ensemble * case.seeds, rows, settings.hidden_dims[0]


def chunk_of(operations: float, rate: float, seconds: float) -> int:
    """Returns how many updates a call needs to last `seconds` at `rate` FLOP/s.

    Whole blocks, as the trainer's calls are, between which it looks for failed seeds;
    at most as many as the trainer takes in a call.

    Args:
        operations: FLOPs of an update of all seeds.
        rate: FLOP/s.
        seconds: wanted.
    """
    blocks = int(seconds * rate / operations) // offline_phase.LOOK_EVERY
    return min(max(blocks, 1) * offline_phase.LOOK_EVERY, schedule.LONGEST_CHUNK)


def _offline(config, parts, pretrained, data) -> tuple[Any, ...]:
    """Returns the scan of offline updates: the fields of `Prepared` from `state` on."""
    batch_size = config.offline.batch_size
    updates = offline_phase.make_updates(parts, batch_size)
    return (
        pretrained,
        lambda state, chunk: updates.lower(state, data.dataset, 0, length=chunk),
        lambda compiled, state, done, chunk: compiled(state, data.dataset, done)[0],
        batch_size,
    )


def _online(config, parts, pretrained, data) -> tuple[Any, ...]:
    """Returns the same for fine-tuning: a chunk is one step with so many updates."""
    places, size = len(parts.seeds), parts.task.observation_size
    # As many rows as the buffer has at most, and the data can fill.
    rows = min(online_phase.capacity(config.online), len(data.dataset.rewards))
    config.online.buffer_size = rows
    if parts.model is not None:  # Untrained; unfitted, new weights would be no numbers.
        few = tuple(column[:FITTED] for column in data.columns)
        weight = parts.model.fit(pretrained.model, *few)
        pretrained = pretrained.replace(weight=jax.tree.map(jnp.copy, weight))
    first = np.zeros((places, size), np.float32)
    state = online_phase.init(parts, config.online, pretrained, first)
    state = _fill(state, data.dataset, rows)
    step = online_phase.make_step(parts, config.online)
    number = np.zeros(places, np.float32)
    feedback = online_phase.Feedback(number, first, number + 1, first)
    dataset = data.dataset if sampling.needs_dataset(config.online) else None
    return (
        state,
        lambda state, chunk: step.lower(state, feedback, dataset, chunk),
        lambda compiled, state, done, chunk: compiled(state, feedback, dataset, chunk),
        config.online.batch_size,
    )


def _fill(state: online_phase.State, dataset: Any, rows: int) -> online_phase.State:
    """Returns the state with offline rows, and weights, in the buffers."""
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
    """Returns a batch of so many rows, without its arrays."""
    return jax.eval_shape(
        lambda: replay.create(rows, task.observation_size, task.action_size)
    )


def _quiet(message: str) -> None:
    """Drops what the trainer says of its data: they are random."""
    del message
