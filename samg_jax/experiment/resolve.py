"""From a config to a frozen experiment: completed, checked and built, once."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from samg_jax import algorithms, checks, foreign, settings, trust
from samg_jax.data import minari_source, sources
from samg_jax.envs import d4rl_physics, tasks
from samg_jax.experiment import config_checks, spec, sweeps
from samg_jax.experiment.resolved import Experiment
from samg_jax.guidance import cvae, cvae_settings, embedding, models, presets, weights


def experiment(config: ml_collections.ConfigDict) -> Experiment:
    """The experiment of a config, which stays as it is.

    Raises:
        checks.UserError: the config cannot be used, or nothing can be built from it.
    """
    fields, task = complete(config.to_dict())
    config_checks.check(fields)
    return _build(fields, task)


def from_fields(fields: Mapping[str, Any]) -> Experiment:
    """The experiment of fields that were checked when they were written.

    Args:
        fields: A config as nested dictionaries; fields that it lacks take their
            defaults.
    """
    return _build(*complete(fields))


def saved(fields: Mapping[str, Any], origin: str) -> Experiment:
    """The experiment of a run that may be someone else's.

    Args:
        fields: The run's config, as it was saved.
        origin: Where it was found, in words, as a sentence begins.

    Raises:
        checks.UserError: it names a module that the user's command does not name.
    """
    trust.config(fields, origin)
    return from_fields(config_checks.completed(fields))


def complete(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tasks.Task]:
    """A copy of a config with what it leaves to its task filled in, and the task.

    The user's module is imported first: it may register the algorithm, too.
    """
    complete: dict[str, Any] = copy.deepcopy(dict(fields))
    dataset, guidance = complete["dataset"], complete["guidance"]
    import_weights(guidance.get("module"))
    task = task_of(complete)
    named = None if dataset["path"] else dataset["name"]
    if dataset["path"]:
        # The file is what the run learns from, whatever dataset the config is for.
        dataset["name"] = pathlib.Path(dataset["path"]).stem
    complete["env_id"] = task.env_id
    complete["physics"] = physics_of(complete, task)
    presets.fill(guidance)
    of_cvae = guidance.get("cvae") or {}
    for name, value in cvae_settings.published(named, task.env_id).items():
        if name in of_cvae and of_cvae[name] is None:
            of_cvae[name] = value
    return complete, task


def _build(fields: dict[str, Any], task: tasks.Task) -> Experiment:
    run = settings.build(spec.Run, fields)
    guidance = guidance_config(fields["guidance"])
    agent = dict(fields["agent"])
    declared = algorithms.module(run.algorithm).Config
    for name, known in settings.settings(declared).items():
        if known.follows is not None:
            agent[name] = known.follows(run, guidance)
    algorithm = algorithms.make(run.algorithm, agent, task.action_size)
    return Experiment(
        settings=run,
        record=fields,
        task=task,
        physics=run.physics,
        algorithm=algorithm,
        online=algorithm.online(),
        guidance=guidance,
        model=weight_model(guidance, task.observation_size, task.action_size),
        seeds=np.arange(run.seed, run.seed + run.num_seeds, dtype=np.uint32),
        offline_returns=agent.get("calibrated", False),
        online_returns=agent.get("calibrated_online", False),
        sweep=sweeps.parse(fields, guidance),
    )


def task_of(fields: Mapping[str, Any]) -> tasks.Task:
    """The task of `env_id`, or of the dataset if no `env_id` is given.

    On Minari's data no return scores 0 or 100: D4RL's references belong to its own.

    Args:
        fields: A config as nested dictionaries.
    """
    dataset, env_id = fields["dataset"], fields["env_id"]
    minari = sources.minari_id(dataset.get("name"), dataset["path"])
    if minari:
        if not env_id:
            env_id = minari_source.env_id(minari)
            trust.config({"env_id": env_id}, f"The Minari dataset {minari!r}")
        task = tasks.for_env_id(env_id)
        return dataclasses.replace(task, ref_min=None, ref_max=None)
    if env_id:
        return tasks.for_env_id(env_id)
    if dataset["path"]:
        raise checks.UserError(
            f"config.dataset.path is {dataset['path']!r} but config.env_id is "
            "empty. A file of your own does not say where its policies are evaluated. "
            "Set the environment too, as in config.env_id=Hopper-v4."
        )
    return tasks.for_dataset(dataset["name"])


def physics_of(fields: Mapping[str, Any], task: tasks.Task) -> str:
    """The physics as configured, or that of the data.

    Defaults to `d4rl` if it is defined for the environment, except for Minari data.
    """
    physics, dataset = fields["physics"], fields["dataset"]
    if physics:
        d4rl_physics.resolve(task.env_id, physics)  # Refuses what is undefined.
        return physics
    if sources.minari_id(dataset.get("name"), dataset["path"]):
        return "stock"
    return d4rl_physics.default(task.env_id)


def guidance_config(fields: Mapping[str, Any]) -> weights.GuidanceConfig:
    """The settings of the guidance, checked.

    A module that registers weights is imported first, so that whatever reads the
    config of a run, a fork for example, knows them.

    Args:
        fields: The group `guidance` of a config.
    """
    import_weights(fields.get("module"))
    groups = {"cvae": cvae.Config, "embedding": embedding.Config}
    built = {name: make(**fields.get(name, {})) for name, make in groups.items()}
    return weights.GuidanceConfig(**{**fields, **built})


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
    """The model that the weight needs, None if it needs none."""
    make = weights.REGISTRY[guidance.weight].model
    return make and make(guidance, observation_size, action_size)
