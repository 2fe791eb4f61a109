"""From a config to the fixed parts of an experiment, and to its data."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import struct

from samg_jax import algorithms
from samg_jax.data import d4rl, transitions
from samg_jax.envs import physics, tasks
from samg_jax.guidance import cvae, presets, weights
from samg_jax.types import Algorithm, Batch


@dataclasses.dataclass(frozen=True)
class Parts:
    """What is fixed in a run: no arrays, nothing that learns.

    Attributes:
        task: the environment and its reference scores.
        physics: `d4rl` or `stock`.
        algorithm: as it trains offline.
        online: the same as it fine-tunes.
        guidance: settings of the guidance.
        cvae: the C-VAE, None where the weight needs none.
        seeds: `[S]` values of the seeds.
        online_returns: whether online transitions get their return-to-go as well.
    """

    task: tasks.Task
    physics: str
    algorithm: Algorithm
    online: Algorithm
    guidance: weights.GuidanceConfig
    cvae: cvae.CVAE | None
    seeds: np.ndarray
    online_returns: bool = False


class Preprocessing(struct.PyTreeNode):
    """Fixed maps of raw data, fitted offline and carried in every checkpoint."""

    normalizer: transitions.Normalizer
    reward_transform: transitions.RewardTransform

    def __call__(self, batch: Batch) -> Batch:
        """Returns a raw batch as algorithms want it."""
        return batch.replace(
            observations=self.normalizer(batch.observations),
            next_observations=self.normalizer(batch.next_observations),
            rewards=self.reward_transform(batch.rewards),
        )


def online_updates(config: ml_collections.ConfigDict) -> int:
    """Returns the number of updates of the online phase."""
    online = config.online
    return max(online.steps - online.warmup_steps, 0) * online.updates_per_step


# Hyperparameters, of any algorithm, that follow from the rest of the config.
IMPLIED: dict[str, Callable[[ml_collections.ConfigDict], Any]] = {
    "guided_penalty": lambda config: guidance_config(config).penalty == "mixed",
    "schedule_steps": lambda config: max(config.offline.updates, 1),
    "cooling_steps": lambda config: max(online_updates(config), 1),
}


# The paper's C-VAE: a simplified decoder for two robots, annealing for one of them.
CVAE_DEFAULTS = {"decoder_layers": 2, "kl_warmup_start": 0, "kl_warmup_steps": 0}
CVAE_OF_ROBOT = {
    "Walker2d": {"decoder_layers": 1},
    "Hopper": {
        "decoder_layers": 1,
        "kl_warmup_start": 10_000,
        "kl_warmup_steps": 20_000,
    },
}


def complete(config: ml_collections.ConfigDict) -> tasks.Task:
    """Fills in, in place, what the config leaves to its task; returns the task."""
    task = resolve_task(config)
    robot = task.env_id.split("-")[0]
    with config.unlocked():
        config.env_id = task.env_id
        config.physics = resolve_physics(config, task)
        presets.fill(config.guidance)
        settings = config.guidance.get("cvae") or {}
        for name, default in CVAE_DEFAULTS.items():
            if name in settings and settings[name] is None:
                settings[name] = CVAE_OF_ROBOT.get(robot, {}).get(name, default)
    return task


def resolve(config: ml_collections.ConfigDict) -> Parts:
    """Returns the fixed parts; what the config leaves open is filled in.

    Raises:
        ValueError: where they cannot be built.
    """
    task = complete(config)
    guidance = guidance_config(config)
    settings = config.agent.to_dict()
    for name in algorithms.hyperparameters(config.algorithm):
        if name in IMPLIED:
            settings[name] = IMPLIED[name](config)
    algorithm = algorithms.make(config.algorithm, settings, task.action_size)
    model = None
    if guidance.weight == "cvae":
        model = cvae.CVAE(guidance.cvae, task.observation_size, task.action_size)
    return Parts(
        task=task,
        physics=config.physics,
        algorithm=algorithm,
        online=algorithm.online(),
        guidance=guidance,
        cvae=model,
        seeds=np.arange(config.seed, config.seed + config.num_seeds, dtype=np.uint32),
        online_returns=config.agent.get("calibrated_online", False),
    )


def resolve_task(config: ml_collections.ConfigDict) -> tasks.Task:
    """Returns the task of `env_id`, or of the dataset where no `env_id` is given."""
    if config.env_id:
        return tasks.for_env_id(config.env_id)
    if config.dataset.path:
        raise ValueError(
            f"config.dataset.path is {config.dataset.path!r} but config.env_id is "
            "empty. A file of your own does not say where its policies are evaluated. "
            "Give the environment too, as in --config.env_id=Hopper-v4."
        )
    return tasks.for_dataset(config.dataset.name)


def resolve_physics(config: ml_collections.ConfigDict, task: tasks.Task) -> str:
    """Returns the physics: as configured, else `d4rl` where that is defined."""
    if config.physics:
        if not tasks.is_antmaze(task.env_id):  # Refused where it would be made.
            physics.resolve(task.env_id, config.physics)  # Refuses what is undefined.
        return config.physics
    return "d4rl" if tasks.is_locomotion(task.env_id) else "stock"


def guidance_config(config: ml_collections.ConfigDict) -> weights.GuidanceConfig:
    """Returns the settings of the guidance, checked."""
    settings = config.guidance.to_dict()
    settings.pop("weight_preset", None)  # Resolved into the fields that it decides.
    model = cvae.Config(**settings.pop("cvae", {}))
    return weights.GuidanceConfig(**settings, cvae=model)


def load_dataset(
    config: ml_collections.ConfigDict, task: tasks.Task, log=print
) -> tuple[transitions.Dataset, Preprocessing, str]:
    """Returns the transitions on the host, their preprocessing, and what they are.

    Raises:
        ValueError: for a file that cannot be used, or not with this environment.
        DownloadError: for a D4RL file that is not there and cannot be had.
    """
    path = d4rl.resolve(config.dataset.name, config.dataset.path, log=log)
    raw = d4rl.load(path)
    check_sizes(path, raw, task)
    dataset = transitions.q_learning_view(raw, task.max_episode_steps)
    if config.dataset.drop_unfinished:
        dataset = transitions.drop_unfinished(dataset)
    transform = fit_reward_transform(config, dataset)
    if config.agent.get("calibrated"):
        dataset = with_returns(config, dataset, transform, task)
    normalizer = transitions.Normalizer.identity(task.observation_size)
    if config.dataset.normalize_observations:
        normalizer = transitions.Normalizer.fit(dataset.observations)
    return dataset, Preprocessing(normalizer, transform), describe(config, raw, path)


def describe(config: ml_collections.ConfigDict, raw: d4rl.Raw, path) -> str:
    """Returns what the data are, so that no result passes for one on D4RL."""
    rows = f"{len(raw.rewards):,} rows"
    if raw.attributes.get("locally_collected"):
        return f"{path.stem} ({rows}, locally collected, not D4RL)"
    if config.dataset.path:
        return f"{path.stem} ({rows}, a file of your own)"
    return f"{config.dataset.name} ({rows}, D4RL)"


def check_sizes(path: pathlib.Path, raw: d4rl.Raw, task: tasks.Task) -> None:
    """Refuses data of other dimensions than the environment's."""
    found = raw.observations.shape[1], raw.actions.shape[1]
    wanted = task.observation_size, task.action_size
    if found != wanted:
        raise ValueError(
            f"The dataset {path} has observations of size {found[0]} and actions of "
            f"size {found[1]}, but {task.env_id} has {wanted[0]} and {wanted[1]}. "
            "Give the environment that the data were collected on: --config.env_id=..."
        )


def fit_reward_transform(config, dataset) -> transitions.RewardTransform:
    """Returns the configured transform of rewards, fitted to the offline data."""
    kind = config.dataset.reward_transform
    scale, bias = config.dataset.reward_scale, config.dataset.reward_bias
    if kind == "range":
        return transitions.RewardTransform.range(dataset, scale, bias)
    if kind == "affine":
        return transitions.RewardTransform.affine(scale, bias)
    return transitions.RewardTransform.identity()


def with_returns(config, dataset, transform, task) -> transitions.Dataset:
    """Returns the data with the returns-to-go that calibration bounds values by."""
    ends = transitions.episode_ends(dataset, task.max_episode_steps)
    discount = config.agent.discount
    returns = returns_to_go(
        task, discount, transform, dataset.rewards, dataset.masks, ends
    )
    return dataset.replace(mc_returns=returns)


def returns_to_go(task, discount, transform, rewards, masks, ends) -> np.ndarray:
    """Returns `transitions.returns_to_go` of raw rewards, transformed.

    Where only the goal is rewarded, a trajectory that ends without it has the value of
    failing for ever.
    """
    rewards = np.asarray(transform(rewards), np.float32)
    failure_reward = None
    if task.sparse:
        failure_reward = float(transform(np.float32(0.0)))
    return transitions.returns_to_go(rewards, masks, ends, discount, failure_reward)


def as_batch(dataset: transitions.Dataset, indices: jax.Array) -> Batch:
    """Returns rows of the dataset as a raw batch, with weight 0."""
    rows = jax.tree.map(lambda leaf: leaf[indices], dataset)
    return Batch(
        observations=rows.observations,
        actions=rows.actions,
        rewards=rows.rewards,
        next_observations=rows.next_observations,
        masks=rows.masks,
        mc_returns=rows.mc_returns,
        weights=jax.numpy.zeros_like(rows.rewards),
    )
