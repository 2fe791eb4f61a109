"""From a suite to its jobs: one offline phase each, and the runs forked from it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import ml_collections

from samg_jax import checks, durable
from samg_jax.data import d4rl
from samg_jax.envs import tasks
from samg_jax.experiment import (
    command_line,
    misspelled,
    resolve,
    setting_values,
    suite_files,
)
from samg_jax.runs import environments

OFFLINE = "offline"
VANILLA = "vanilla"
# Variant -> what it changes in the config with guidance.
GUIDED = {
    "no_data": ("guidance.weight=none",),
    "samg": (),
    "samg_even": ("guidance.weight=even",),
    "samg_random": ("guidance.weight=random",),
    "samg_embedding": ("guidance.weight=embedding",),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One process of the trainer.

    Attributes:
        name: Its folder below `jobs/` in the folder of the suite.
        algorithm: The algorithm that trains.
        variant: The variant of fine-tuning, or `offline`.
        dataset: The dataset's name in the table.
        source: The name of the job that it forks from; None if it pre-trains.
        config: The resolved config, as JSON has it; `offline.restore` is set when the
            source has ended.
    """

    name: str
    algorithm: str
    variant: str
    dataset: str
    source: str | None
    config: dict[str, Any]

    def experiment(self) -> ml_collections.ConfigDict:
        """The config that the trainer takes."""
        return ml_collections.ConfigDict(_tuples(self.config))


def _tuples(value: Any) -> Any:
    """A value of a config, with the tuples that JSON made lists of."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(value) if isinstance(value, list) else value


def expand(suite: ml_collections.ConfigDict, configs: pathlib.Path) -> list[Job]:
    """All jobs of a suite, every one behind the job that it forks from.

    Args:
        suite: The suite, from `suite_files.load`.
        configs: The folder of the config files.

    Raises:
        checks.UserError: the trainer would refuse a job.
    """
    check_names(suite, configs)
    found = {}
    for dataset, algorithm, seeds in itertools.product(
        suite.datasets, suite.algorithms, chunks(suite)
    ):
        for job in family(suite, Recipe(configs, algorithm, dataset, seeds)):
            if job.name in found:
                raise checks.UserError(
                    f"Two jobs of the suite are called {job.name!r}, and would share "
                    "a folder. Jobs are called by algorithm, dataset or the name of "
                    "its file, seeds and variant. Rename the files of the datasets, "
                    "or the variants."
                )
            found[job.name] = job
    return list(found.values())


def check_names(suite: ml_collections.ConfigDict, configs: pathlib.Path) -> None:
    """Raises UserError for an unknown variant or algorithm."""
    variants = [VANILLA, *GUIDED, *suite.by_variant]
    advice = "A variant of SAMG of your own needs a row in by_variant."
    for name in suite.variants:
        checks.choice("variants of the suite", name, variants, advice)
    files = [path.stem for path in configs.glob("*.py")]
    for name in suite.by_algorithm:
        checks.choice("by_algorithm of the suite", name, files)


def chunks(suite: ml_collections.ConfigDict) -> Iterator[tuple[int, int]]:
    """The first seed and the number of seeds of each process."""
    size = suite.seeds_per_job or suite.num_seeds
    for first in range(0, suite.num_seeds, size):
        yield suite.seed + first, min(size, suite.num_seeds - first)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the jobs of one offline phase are made of.

    Attributes:
        configs: The folder of the config files.
        algorithm: The name of the config file, without `_samg`.
        dataset: The dataset, as after the colon of `--config`.
        seeds: The first seed, and the number of seeds.
    """

    configs: pathlib.Path
    algorithm: str
    dataset: str
    seeds: tuple[int, int]

    def file(self, guided: bool) -> pathlib.Path:
        """The config file, with guidance or without."""
        return self.configs / f"{self.algorithm}{'_samg' if guided else ''}.py"

    def name(self, label: str, variant: str) -> str:
        """The name of a job: its folder below `jobs/`."""
        first, count = self.seeds
        last = f"-{first + count - 1}" if count > 1 else ""
        parts = [
            durable.short_name(re.sub(r"[^-.\w]", "_", part), 200)
            for part in (label, variant)
        ]
        return f"{self.algorithm}/{parts[0]}/seed{first}{last}/{parts[1]}"


def family(suite: ml_collections.ConfigDict, recipe: Recipe) -> list[Job]:
    """The job of one offline phase, and the jobs that fork from it."""
    steps = build(suite, recipe, guided=False).online.steps
    forks = {}
    for variant in suite.variants if steps else ():
        guided = variant != VANILLA
        if not guided or recipe.file(guided=True).is_file():
            forks[variant] = build(suite, recipe, guided, variant)
    # With guidance if a fork can take over the fit of its weight.
    fitted = any(config.guidance.weight == "cvae" for config in forks.values())
    offline = build(suite, recipe, guided=fitted)
    offline.online.steps = 0
    label = offline.dataset.name
    if offline.dataset.path:
        label = pathlib.Path(offline.dataset.path).stem
    source = recipe.name(label, OFFLINE)
    jobs = [_job(source, OFFLINE, label, None, offline)]
    for variant, config in forks.items():
        name = recipe.name(label, variant)
        jobs.append(_job(name, variant, label, source, config))
    return jobs


def build(
    suite: ml_collections.ConfigDict,
    recipe: Recipe,
    guided: bool,
    variant: str | None = None,
) -> ml_collections.ConfigDict:
    """The config of a job.

    Args:
        suite: The suite, from `suite_files.load`.
        recipe: The parts of the job.
        guided: Whether to begin from the config file with guidance.
        variant: The variant; None for the offline phase.
    """
    config = command_line.load(str(recipe.file(guided)), recipe.dataset)
    config.seed, config.num_seeds = recipe.seeds
    config.logging.progress = False
    if suite.dataset_path is not None:
        path = suite.dataset_path.format(dataset=recipe.dataset)
        config.dataset.path = str(pathlib.Path(path).expanduser().absolute())
        config.env_id = tasks.for_dataset(recipe.dataset).env_id
    budgets = suite.budgets
    if budgets.offline_updates is not None:
        config.offline.updates = budgets.offline_updates
    if budgets.online_steps is not None and config.online.steps:
        config.online.steps = budgets.online_steps
    override(config, suite.overrides, recipe)
    override(config, suite.by_algorithm.get(recipe.algorithm, ()), recipe)
    override(config, suite.get(suite_files.GIVEN, ()), recipe)
    if variant is not None:
        override(config, GUIDED.get(variant, ()), recipe)
        override(config, suite.by_variant.get(variant, ()), recipe)
        if guided and config.guidance.weight != "none" and suite.sweep:
            with config.unlocked():
                config.sweep = tuple(suite.sweep)
    return config


def override(
    config: ml_collections.ConfigDict, texts: Iterable[str], recipe: Recipe
) -> None:
    """Sets fields, in place; leaves out fields that only guidance has.

    Raises:
        checks.UserError: no config of the algorithm has the field, or it has another
            type.
    """
    for text in texts:
        name, _, given = text.partition("=")
        fields = setting_values.flatten(config.to_dict())
        if name.startswith("guidance.") and name not in fields:
            guided = recipe.file(guided=True)
            if guided.is_file():  # A misspelled name is not there, either.
                whole = command_line.load(str(guided), recipe.dataset)
                misspelled.check_field(name, whole.to_dict())
            continue
        misspelled.check_field(name, config.to_dict())
        try:
            setting_values.assign(config, name, setting_values.unquoted(given))
        except ValueError as error:
            raise checks.UserError(
                f"The suite sets {text!r} for {recipe.algorithm}, of the wrong kind: "
                f"it must be {error}. Set a value like the one before: "
                f"{fields[name]!r}."
            ) from error


def _job(
    name: str,
    variant: str,
    label: str,
    source: str | None,
    config: ml_collections.ConfigDict,
) -> Job:
    """A job whose config the trainer accepts."""
    try:
        if source is not None:
            config.offline.restore = source
        experiment = resolve.experiment(config)
        environments.check(experiment)
        data = experiment.settings.dataset
        if data.path:
            d4rl.resolve(data.name, data.path, download=False)
    except checks.UserError as error:
        raise checks.UserError(f"The job {name} of the suite: {error}") from error
    # As it will be read back: lists, no tuples.
    plain = json.loads(json.dumps(experiment.record))
    plain["offline"]["restore"] = None
    return Job(name, config.algorithm, variant, label, source, plain)
