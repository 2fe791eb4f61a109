"""The offline data of an experiment: read, checked, and prepared for training."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
from flax import struct

from samg_jax import checks
from samg_jax.data import (
    d4rl,
    fingerprints,
    plausibility,
    sources,
    transitions,
)
from samg_jax.envs import tasks
from samg_jax.experiment import spec
from samg_jax.experiment.resolved import Experiment
from samg_jax.types import Batch

LEAST_TRANSITIONS = 10


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


def load(
    experiment: Experiment,
    log=print,
    warn=print,
    identify: Callable[[str], None] | None = None,
) -> tuple[transitions.Dataset, Preprocessing, str]:
    """Returns the transitions on the host, their preprocessing, and what they are.

    Args:
        experiment: The resolved experiment.
        log: receives where a file comes from.
        warn: receives where a D4RL file differs from what is published about it.
        identify: receives the fingerprint of the rows, before anything is made of them.

    Raises:
        checks.UserError: for a file that cannot be used, or not with this environment.
        DownloadError: for a D4RL file that is not there and cannot be had.
    """
    raw, source = read_rows(experiment, log)
    return prepare(experiment, raw, source, warn, identify)


def prepare(
    experiment: Experiment,
    raw: d4rl.Raw,
    source: str,
    warn=print,
    identify: Callable[[str], None] | None = None,
) -> tuple[transitions.Dataset, Preprocessing, str]:
    """Checks rows and makes of them what `load` returns.

    Args:
        experiment: The resolved experiment.
        raw: rows, from `read_rows`.
        source: their file, or the name of Minari's.
        warn: receives what is likely wrong with the rows.
        identify: receives the fingerprint of the rows, before anything is made of them.
    """
    task, settings = experiment.task, experiment.settings.dataset
    minari = sources.minari_id(settings.name, settings.path)
    if identify is not None:
        identify(fingerprints.fingerprint(raw))
    check_sizes(source, raw, task)
    if task.sparse:
        plausibility.check_successes(source, raw)
    if isinstance(raw, d4rl.Own):
        plausibility.check(source, raw, task, order_uses(experiment), warn)
    elif minari:
        plausibility.warn_of_flags(source, raw, warn)
    dataset = transitions.view(raw, task.max_episode_steps)
    check_enough(source, dataset)
    genuine = True
    if not (settings.path or minari):
        different = d4rl.difference(settings.name, pathlib.Path(source))
        if different:
            warn(different)
            genuine = False
    if settings.drop_unfinished:
        dataset = transitions.drop_unfinished(dataset)
    transform = fit_reward_transform(settings, dataset)
    if experiment.offline_returns:
        dataset = with_returns(experiment, dataset, transform)
    normalizer = transitions.Normalizer.identity(task.observation_size)
    if settings.normalize_observations:
        normalizer = transitions.Normalizer.fit(dataset.observations)
    about = describe(settings, raw, source, genuine)
    return dataset, Preprocessing(normalizer, transform), about


def read_rows(
    experiment: Experiment, log=print, download: bool = True
) -> tuple[d4rl.Raw, str]:
    """Returns the rows of the dataset, and its file, or the name of Minari's."""
    settings = experiment.settings.dataset
    if sources.minari_id(settings.name, settings.path):
        log(f"hyperparameters: the family {settings.family!r} of configs/base.py")
    return sources.read(settings.name, settings.path, download, log)


def describe(settings: spec.Dataset, raw: d4rl.Raw, source: str, genuine: bool) -> str:
    """Returns what the data are, so that no result passes for one on D4RL."""
    rows, stem = f"{len(raw.rewards):,} rows", pathlib.Path(source).stem
    if sources.minari_id(settings.name, settings.path):
        return f"{source} ({rows}, Minari, not D4RL)"
    if raw.attributes.get("locally_collected"):
        return f"{stem} ({rows}, locally collected, not D4RL)"
    if settings.path:
        return f"{stem} ({rows}, a file of your own)"
    if not genuine:
        return f"{settings.name} ({rows}, not as published by D4RL)"
    return f"{settings.name} ({rows}, D4RL)"


def check_sizes(source: str, raw: d4rl.Raw, task: tasks.Task) -> None:
    """Refuses data of other dimensions than the environment's."""
    found = raw.observations.shape[1], raw.actions.shape[1]
    wanted = task.observation_size, task.action_size
    if found != wanted:
        raise checks.UserError(
            f"The dataset {source} has observations of size {found[0]} and actions of "
            f"size {found[1]}, but {task.env_id} has {wanted[0]} and {wanted[1]}. "
            "Set config.env_id=ENVIRONMENT, the one that the data were collected on."
        )


def check_enough(source: str, dataset: transitions.Dataset) -> None:
    """Refuses data of so few transitions that none could be held out."""
    if len(dataset.rewards) < LEAST_TRANSITIONS:
        raise checks.UserError(
            f"{source} gives {len(dataset.rewards)} transitions. At least "
            f"{LEAST_TRANSITIONS} are needed, and thousands to learn anything. "
            "Collect more steps."
        )


def order_uses(experiment: Experiment) -> list[str]:
    """The settings that need rows in the order of their episodes, and the ways out."""
    uses = []
    if experiment.offline_returns:
        uses.append(
            "config.agent.calibrated, for returns-to-go; set "
            "config.agent.calibrated=False, which is CQL"
        )
    if experiment.settings.dataset.reward_transform == "range":
        uses.append(
            "config.dataset.reward_transform=range, for the range of returns; set "
            "config.dataset.reward_transform=affine and "
            "config.dataset.reward_scale=NUMBER, or none"
        )
    if experiment.settings.dataset.drop_unfinished:
        uses.append(
            "config.dataset.drop_unfinished, for the last end of an episode; set "
            "config.dataset.drop_unfinished=False"
        )
    return uses


def fit_reward_transform(
    settings: spec.Dataset, dataset: transitions.Dataset
) -> transitions.RewardTransform:
    """Returns the configured transform of rewards, fitted to the offline data."""
    kind = settings.reward_transform
    scale, bias = settings.reward_scale, settings.reward_bias
    if kind == "range":
        return transitions.RewardTransform.range(dataset, scale, bias)
    if kind == "affine":
        return transitions.RewardTransform.affine(scale, bias)
    return transitions.RewardTransform.identity()


def with_returns(
    experiment: Experiment,
    dataset: transitions.Dataset,
    transform: transitions.RewardTransform,
) -> transitions.Dataset:
    """Returns the data with the returns-to-go that calibration bounds values by."""
    task = experiment.task
    limit = task.max_episode_steps or len(dataset.rewards)
    ends = transitions.episode_ends(dataset, limit)
    discount = experiment.algorithm.config.discount
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
