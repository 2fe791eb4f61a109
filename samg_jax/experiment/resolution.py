"""From a config to the fixed parts of an experiment, and to its data."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import struct

from samg_jax import algorithms, checks, foreign, settings, trust
from samg_jax.data import (
    d4rl,
    fingerprints,
    minari_source,
    plausibility,
    published_facts,
    sources,
    transitions,
)
from samg_jax.envs import d4rl_physics, tasks, tryout
from samg_jax.experiment import config_checks, spec, sweeps
from samg_jax.guidance import (
    cvae,
    cvae_settings,
    embedding,
    models,
    presets,
    weights,
)
from samg_jax.types import Algorithm, Batch

LEAST_TRANSITIONS = 10


@dataclasses.dataclass(frozen=True)
class Parts:
    """What is fixed in a run: no arrays, nothing that learns.

    Attributes:
        run: the settings that all experiments have.
        task: the environment and its reference scores.
        physics: `d4rl` or `stock`.
        algorithm: as it trains offline.
        online: the same as it fine-tunes.
        guidance: settings of the guidance.
        model: what trains the weight, None where that needs no training.
        seeds: `[S]` values of the seeds; of places, where a sweep is spread.
        online_returns: whether online transitions get their return-to-go as well.
        sweep: the swept settings, empty without a sweep.
        labels: `[S]` names of the places' combinations, empty until spread.
        swept: setting -> `[S]` values of the places, empty until spread.
        mesh: devices that share out the seeds, see `devices`; None for one.
        trial: what the try-out of the environment has shown, see `environments`.
    """

    run: spec.Run
    task: tasks.Task
    physics: str
    algorithm: Algorithm
    online: Algorithm
    guidance: weights.GuidanceConfig
    model: models.Model | None
    seeds: np.ndarray
    online_returns: bool = False
    sweep: tuple[sweeps.Axis, ...] = ()
    labels: tuple[str, ...] = ()
    swept: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    mesh: jax.sharding.Mesh | None = None
    trial: tryout.Trial = tryout.EXACT

    @property
    def by_quantile(self) -> bool:
        """Whether the threshold is a quantile of p_int over the offline data."""
        if not weights.REGISTRY[self.guidance.weight].cut:
            return False
        swept = any(axis.name == "guidance.threshold_quantile" for axis in self.sweep)
        return swept or self.guidance.threshold_quantile is not None

    @property
    def fitted(self) -> bool:
        """Whether the weight needs anything of the offline data."""
        return self.model is not None or self.by_quantile

    def name(self, place: int) -> str:
        """Returns what a seed is called in messages, its combination included."""
        label = f" ({self.labels[place]})" if self.labels else ""
        return f"{self.seeds[place]}{label}"


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


def complete(config: ml_collections.ConfigDict) -> tasks.Task:
    """Fills in, in place, what the config leaves to its task; returns the task.

    The user's module is imported first: it may register the algorithm, too.
    """
    import_weights(config.guidance.get("module"))
    task = resolve_task(config)
    dataset = None if config.dataset.path else config.dataset.name
    published = cvae_settings.published(dataset, task.env_id)
    with config.unlocked():
        if config.dataset.path:
            # The file is what the run learns from, whatever dataset the config is for.
            config.dataset.name = pathlib.Path(config.dataset.path).stem
        config.env_id = task.env_id
        config.physics = resolve_physics(config, task)
        presets.fill(config.guidance)
        fields = config.guidance.get("cvae") or {}
        for name, value in published.items():
            if name in fields and fields[name] is None:
                fields[name] = value
    return task


def resolve(config: ml_collections.ConfigDict) -> Parts:
    """Returns the fixed parts; what the config leaves open is filled in.

    Raises:
        checks.UserError: where they cannot be built.
    """
    task = complete(config)
    run = settings.build(spec.Run, config.to_dict())
    guidance = guidance_config(config)
    agent = config.agent.to_dict()
    declared = algorithms.module(config.algorithm).Config
    for name, known in settings.settings(declared).items():
        if known.follows is not None:
            agent[name] = known.follows(run, guidance)
    algorithm = algorithms.make(config.algorithm, agent, task.action_size)
    return Parts(
        run=run,
        task=task,
        physics=config.physics,
        algorithm=algorithm,
        online=algorithm.online(),
        guidance=guidance,
        model=weight_model(guidance, task.observation_size, task.action_size),
        seeds=np.arange(config.seed, config.seed + config.num_seeds, dtype=np.uint32),
        online_returns=config.agent.get("calibrated_online", False),
        sweep=sweeps.parse(config, guidance),
    )


def tuned(parts: Parts, hyperparameters: Mapping[str, jax.Array]) -> Algorithm:
    """Returns the algorithm as it fine-tunes, with one place's swept hyperparameters.

    Args:
        parts: of the experiment.
        hyperparameters: name -> `[]`, traced; empty without a sweep of them.
    """
    if not hyperparameters:
        return parts.online
    config = dataclasses.replace(parts.algorithm.config, **hyperparameters)
    return dataclasses.replace(parts.algorithm, config=config).online()


def resolve_task(config: ml_collections.ConfigDict) -> tasks.Task:
    """Returns the task of `env_id`, or of the dataset where no `env_id` is given.

    On Minari's data no return scores 0 or 100: D4RL's references belong to its own.
    """
    minari = minari_id(config)
    if minari:
        env_id = config.env_id or minari_source.env_id(minari)
        if not config.env_id:
            trust.config({"env_id": env_id}, f"The Minari dataset {minari!r}")
        task = tasks.for_env_id(env_id)
        return dataclasses.replace(task, ref_min=None, ref_max=None)
    if config.env_id:
        return tasks.for_env_id(config.env_id)
    if config.dataset.path:
        raise checks.UserError(
            f"config.dataset.path is {config.dataset.path!r} but config.env_id is "
            "empty. Your own file does not say where its policies are evaluated. "
            "Set the environment too, as in config.env_id=Hopper-v4."
        )
    return tasks.for_dataset(config.dataset.name)


def minari_id(config: ml_collections.ConfigDict) -> str | None:
    """Returns the id of the Minari dataset that is named, None for other data."""
    return sources.minari_id(config.dataset.get("name") or "", config.dataset.path)


def resolve_saved(
    fields: Mapping[str, Any], origin: str
) -> tuple[ml_collections.ConfigDict, Parts]:
    """The config and the parts of a run that may be someone else's.

    Args:
        fields: the run's config, as it was saved.
        origin: where it was found, in words, as a sentence begins.

    Raises:
        checks.UserError: it names a module that the user's command does not name.
    """
    trust.config(fields, origin)
    config = ml_collections.ConfigDict(config_checks.completed(fields))
    return config, resolve(config)


def resolve_physics(config: ml_collections.ConfigDict, task: tasks.Task) -> str:
    """Returns the physics: as configured, else that of the data.

    Which is `d4rl` where that is defined, but for Minari's data.
    """
    if config.physics:
        d4rl_physics.resolve(task.env_id, config.physics)  # Refuses what is undefined.
        return config.physics
    return "stock" if minari_id(config) else d4rl_physics.default(task.env_id)


def guidance_config(config: ml_collections.ConfigDict) -> weights.GuidanceConfig:
    """Returns the settings of the guidance, checked.

    A module that registers weights is imported first, so that whatever reads the
    config of a run, a fork for example, knows them.
    """
    fields = config.guidance.to_dict()
    import_weights(fields.get("module"))
    return weights.GuidanceConfig(
        cvae=cvae.Config(**fields.pop("cvae", {})),
        embedding=embedding.Config(**fields.pop("embedding", {})),
        **fields,
    )


def import_weights(module: str | None) -> None:
    """Imports the module that registers the user's own weights, if any."""
    if not module:
        return
    if not re.fullmatch(r"\w+(\.\w+)*", module):
        raise checks.UserError(
            f"config.guidance.module is {module!r}, which names no module. Python "
            "imports a module by its name: without .py, without a folder. Start the "
            "program in its folder, or set PYTHONPATH=FOLDER, and correct "
            "config.guidance.module."
        )
    try:
        with foreign.ending_aloud(
            f"config.guidance.module {module!r}, while it is imported,",
            "It must only define and register. Correct the module.",
        ):
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # Something that the user's own module imports.
        raise checks.UserError(
            f"config.guidance.module is {module!r}, which Python cannot find. It must "
            "be the name of a module, without .py, in the current folder or installed. "
            "Start the program where the file is, or correct config.guidance.module."
        ) from error


def weight_model(
    guidance: weights.GuidanceConfig, observation_size: int, action_size: int
) -> models.Model | None:
    """Returns the model that the weight needs, None if it needs none."""
    make = weights.REGISTRY[guidance.weight].model
    return make and make(guidance, observation_size, action_size)


def load_dataset(
    config: ml_collections.ConfigDict,
    task: tasks.Task,
    log=print,
    warn=print,
    identify: Callable[[str], None] | None = None,
) -> tuple[transitions.Dataset, Preprocessing, str]:
    """Returns the transitions on the host, their preprocessing, and what they are.

    Args:
        config: resolved.
        task: of the config.
        log: receives where a file comes from.
        warn: receives where a D4RL file differs from what is published about it.
        identify: receives the fingerprint of the rows, before anything is made of them.

    Raises:
        checks.UserError: for a file that cannot be used, or not with this environment.
        DownloadError: for a D4RL file that is not there and cannot be had.
    """
    raw, source = read_rows(config, log)
    return prepare(config, task, raw, source, warn, identify)


def prepare(
    config: ml_collections.ConfigDict,
    task: tasks.Task,
    raw: d4rl.Raw,
    source: str,
    warn=print,
    identify: Callable[[str], None] | None = None,
) -> tuple[transitions.Dataset, Preprocessing, str]:
    """Checks rows and makes of them what `load_dataset` returns.

    Args:
        config: resolved.
        task: of the config.
        raw: rows, from `read_rows`.
        source: their file, or the name of Minari's.
        warn: receives what is likely wrong with the rows.
        identify: receives the fingerprint of the rows, before anything is made of them.
    """
    if identify is not None:
        identify(fingerprints.fingerprint(raw))
    check_sizes(source, raw, task)
    if task.sparse:
        published_facts.check_successes(source, raw)
    if isinstance(raw, d4rl.Own):
        plausibility.check(source, raw, task, order_uses(config), warn)
    elif minari_id(config):
        plausibility.warn_of_flags(source, raw, warn)
    dataset = transitions.view(raw, task.max_episode_steps)
    check_enough(source, dataset)
    genuine = True
    if not (config.dataset.path or minari_id(config)):
        path = pathlib.Path(source)
        different = published_facts.warning(config.dataset.name, path, raw, dataset)
        if different:
            warn(different)
            genuine = d4rl.has_original_size(config.dataset.name, path)
    if config.dataset.drop_unfinished:
        dataset = transitions.drop_unfinished(dataset)
    transform = fit_reward_transform(config, dataset)
    if config.agent.get("calibrated"):
        dataset = with_returns(config, dataset, transform, task)
    normalizer = transitions.Normalizer.identity(task.observation_size)
    if config.dataset.normalize_observations:
        normalizer = transitions.Normalizer.fit(dataset.observations)
    about = describe(config, raw, source, genuine)
    return dataset, Preprocessing(normalizer, transform), about


def read_rows(
    config: ml_collections.ConfigDict, log=print, download: bool = True
) -> tuple[d4rl.Raw, str]:
    """Returns the rows of the dataset, and its file, or the name of Minari's."""
    if minari_id(config):
        log(f"hyperparameters: the family {config.dataset.family!r} of configs/base.py")
    return sources.read(config.dataset.name, config.dataset.path, download, log)


def describe(
    config: ml_collections.ConfigDict, raw: d4rl.Raw, source: str, genuine: bool
) -> str:
    """Returns what the data are, so that no result passes for one on D4RL."""
    rows, stem = f"{len(raw.rewards):,} rows", pathlib.Path(source).stem
    if minari_id(config):
        return f"{source} ({rows}, Minari, not D4RL)"
    if raw.attributes.get("locally_collected"):
        return f"{stem} ({rows}, locally collected, not D4RL)"
    if config.dataset.path:
        return f"{stem} ({rows}, a file of your own)"
    if not genuine:
        return f"{config.dataset.name} ({rows}, not as published by D4RL)"
    return f"{config.dataset.name} ({rows}, D4RL)"


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


def order_uses(config: ml_collections.ConfigDict) -> list[str]:
    """The settings that need rows in the order of their episodes, and the ways out."""
    uses = []
    if config.agent.get("calibrated"):
        uses.append(
            "config.agent.calibrated, for returns-to-go; set "
            "config.agent.calibrated=False, which is CQL"
        )
    if config.dataset.reward_transform == "range":
        uses.append(
            "config.dataset.reward_transform=range, for the range of returns; set "
            "config.dataset.reward_transform=affine and "
            "config.dataset.reward_scale=NUMBER, or none"
        )
    if config.dataset.drop_unfinished:
        uses.append(
            "config.dataset.drop_unfinished, for the last end of an episode; set "
            "config.dataset.drop_unfinished=False"
        )
    return uses


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
    limit = task.max_episode_steps or len(dataset.rewards)
    ends = transitions.episode_ends(dataset, limit)
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
