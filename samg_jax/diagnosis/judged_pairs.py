"""State-action pairs that judge a weight: familiar ones and unfamiliar ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from samg_jax import checks, logs
from samg_jax.data import d4rl, plausibility, sources, transitions
from samg_jax.envs import vector
from samg_jax.experiment import datasets
from samg_jax.experiment.resolved import Experiment

NOISE_LEVELS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
ROLLOUT_ENVS = 10


class Pairs(NamedTuple):
    """Raw transitions, on the host.

    Attributes:
        observations: `[M, O]`.
        actions: `[M, A]` in [-1, 1].
        next_observations: `[M, O]`. If an action was replaced, this is still the
            successor of the recorded one: such a triple is unfamiliar to a weight that
            reads it, as far as the action does not explain the step.
    """

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray


def take(dataset: transitions.Dataset, rows: np.ndarray) -> Pairs:
    """The pairs in the given rows of the offline data."""
    fields = dataset.observations, dataset.actions, dataset.next_observations
    return Pairs(*(np.asarray(field)[rows] for field in fields))


def choose(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` of the rows, ascending."""
    rows = np.asarray(rows)
    if len(rows) <= count:
        return rows
    return np.sort(rng.choice(rows, count, replace=False))


def with_uniform_actions(pairs: Pairs, rng: np.random.Generator) -> Pairs:
    """The same states with actions drawn uniformly from [-1, 1]."""
    actions = rng.uniform(-1.0, 1.0, pairs.actions.shape)
    return pairs._replace(actions=actions.astype(np.float32))


def with_noise(pairs: Pairs, std: float, noise: np.ndarray) -> Pairs:
    """The same states with noisy actions, clipped as an environment would.

    Args:
        pairs: The pairs to change.
        std: The standard deviation of the noise.
        noise: `[M, A]` standard normal; equal for all levels, so that the levels
            differ only in size.
    """
    actions = np.clip(pairs.actions + std * noise, -1.0, 1.0)
    return pairs._replace(actions=actions.astype(np.float32))


def of_random_policy(
    experiment: Experiment, count: int, rng: np.random.Generator
) -> Pairs:
    """Returns `count` pairs of uniform actions, played in the checkpoint's environment.

    Args:
        experiment: The experiment of the checkpoint.
        count: rows.
        rng: of actions and environments.
    """
    seeds = [int(seed) for seed in rng.integers(2**31, size=ROLLOUT_ENVS)]
    single = experiment.trial.single
    side_by_side = 1 if single else ROLLOUT_ENVS
    env = vector.make(
        experiment.task.env_id,
        side_by_side,
        seeds[:side_by_side],
        experiment.physics,
        single=single,
    )
    steps, observations = [], env.reset()
    for _ in range(-(-count // side_by_side)):
        actions = rng.uniform(-1.0, 1.0, (side_by_side, experiment.task.action_size))
        outcome = env.step(actions.astype(np.float32))
        steps.append((observations, actions, outcome.next_observations))
        observations = outcome.observations
    env.close()
    fields = zip(*steps, strict=True)
    return Pairs(*(np.concatenate(f).astype(np.float32)[:count] for f in fields))


def of_dataset(
    experiment: Experiment, name: str, count: int, rng: np.random.Generator
) -> tuple[Pairs, str]:
    """At most `count` pairs of another dataset, and the dataset's label.

    Args:
        experiment: The experiment of the checkpoint.
        name: An HDF5 file, a D4RL name or `minari:ID`.
        count: The largest number of pairs.
        rng: The generator that chooses them.

    Raises:
        checks.UserError: There are no such data, or their sizes differ from the
            environment's.
        DownloadError: A D4RL file is missing and cannot be downloaded.
    """
    raw, source = sources.read(*sources.split(name))
    found = raw.observations.shape[1], raw.actions.shape[1]
    wanted = experiment.task.observation_size, experiment.task.action_size
    if found != wanted:
        env_id = experiment.task.env_id
        raise checks.UserError(
            f"other is {source}, with observations of size {found[0]} and actions of "
            f"size {found[1]}. The checkpoint's environment, {env_id}, has "
            f"{wanted[0]} and {wanted[1]}. Set other=DATA of that environment."
        )
    if isinstance(raw, d4rl.Own):
        plausibility.check(source, raw, experiment.task, (), logs.LOGGER.warning)
    dataset = transitions.view(raw, experiment.task.max_episode_steps)
    datasets.check_enough(source, dataset)
    rows = choose(np.arange(len(dataset.rewards)), count, rng)
    return take(dataset, rows), sources.label(name)
