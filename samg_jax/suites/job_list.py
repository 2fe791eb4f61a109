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
    config_checks,
    misspelled,
    resolution,
    setting_values,
)
from samg_jax.runs import environments
from samg_jax.suites import definition

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
        name: its folder below `jobs/` in the folder of the suite.
        algorithm: that trains.
        variant: of fine-tuning, or `offline`.
        dataset: what it is called in the table.
        source: name of the job that it forks from, None where it pre-trains.
        config: resolved, as JSON has it; `offline.restore` is filled in when the
            source has ended.
    """

    name: str
    algorithm: str
    variant: str
    dataset: str
    source: str | None
    config: dict[str, Any]

    def experiment(self) -> ml_collections.ConfigDict:
        """Returns the config that the trainer takes."""
        return ml_collections.ConfigDict(_tuples(self.config))


def _tuples(value: Any) -> Any:
    """Returns what JSON made lists of as the configs have it."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(value) if isinstance(value, list) else value


def expand(suite: ml_collections.ConfigDict, configs: pathlib.Path) -> list[Job]:
    """Returns all jobs of a suite, every one behind the job that it forks from.

    Args:
        suite: from `definition.load`.
        configs: folder of the config files.

    Raises:
        checks.UserError: where the trainer would refuse a job.
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
    """Raises UserError for a variant or a row that nothing belongs to."""
    variants = [VANILLA, *GUIDED, *suite.by_variant]
    files = sorted(path.stem for path in configs.glob("*.py"))
    used = [("variants", name, variants) for name in suite.variants]
    used += [("by_algorithm", name, files) for name in suite.by_algorithm]
    for field, name, allowed in used:
        if name not in allowed:
            hint = checks.hint(name, allowed)
            raise checks.UserError(
                f"{field} of the suite has {name!r}, which is not known. {hint}Known "
                f"are {', '.join(allowed)}. Correct it; your own variant of SAMG "
                "needs a row in by_variant."
            )


def chunks(suite: ml_collections.ConfigDict) -> Iterator[tuple[int, int]]:
    """Returns first seed and number of seeds of each process."""
    size = suite.seeds_per_job or suite.num_seeds
    for first in range(0, suite.num_seeds, size):
        yield suite.seed + first, min(size, suite.num_seeds - first)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Of what the jobs of one offline phase are made.

    Attributes:
        configs: folder of the config files.
        algorithm: name of the config file, without `_samg`.
        dataset: as after the colon of `--config`.
        seeds: the first one, and how many.
    """

    configs: pathlib.Path
    algorithm: str
    dataset: str
    seeds: tuple[int, int]

    def file(self, guided: bool) -> pathlib.Path:
        """Returns the config file, with guidance or without."""
        return self.configs / f"{self.algorithm}{'_samg' if guided else ''}.py"

    def folder(self, label: str) -> str:
        """Returns where the jobs lie, below `jobs/`."""
        first, count = self.seeds
        last = f"-{first + count - 1}" if count > 1 else ""
        return f"{self.algorithm}/{_folder(label)}/seed{first}{last}"


def family(suite: ml_collections.ConfigDict, recipe: Recipe) -> list[Job]:
    """Returns the job of one offline phase, and those that fork from it."""
    plain = build(suite, recipe, guided=False)
    has_guided = recipe.file(guided=True).is_file()
    forks = {}
    for variant in suite.variants if plain.online.steps else ():
        if variant == VANILLA:
            forks[variant] = build(suite, recipe, False, variant)
        elif has_guided:
            forks[variant] = build(suite, recipe, True, variant)
    # With guidance where a fork can take over the fit of its weight.
    fitted = any(config.guidance.weight == "cvae" for config in forks.values())
    offline = build(suite, recipe, guided=fitted)
    offline.online.steps = 0
    label = dataset_label(offline)
    source = f"{recipe.folder(label)}/{OFFLINE}"
    first = _job(source, OFFLINE, label, None, offline)
    return [
        first,
        *(
            _job(
                f"{recipe.folder(label)}/{_folder(variant)}",
                variant,
                label,
                source,
                config,
            )
            for variant, config in forks.items()
        ),
    ]


def build(
    suite: ml_collections.ConfigDict,
    recipe: Recipe,
    guided: bool,
    variant: str | None = None,
) -> ml_collections.ConfigDict:
    """Returns a config as the suite wants it.

    Args:
        suite: from `definition.load`.
        recipe: of the job.
        guided: whether from the config file with guidance.
        variant: None for the offline phase.
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
    override(config, suite.get(definition.GIVEN, ()), recipe)
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
    """Sets fields, in place; leaves out those that only guidance has.

    Raises:
        checks.UserError: for a field that no config of the algorithm has, or of another
            type.
    """
    for text in texts:
        name, _, given = text.partition("=")
        if name.startswith("guidance.") and not _has(config, name):
            guided = recipe.file(guided=True)
            if guided.is_file():  # A misspelled name is nowhere.
                whole = command_line.load(str(guided), recipe.dataset)
                misspelled.check_field(name, whole.to_dict())
            continue
        misspelled.check_field(name, config.to_dict())
        before = _value(config, name)
        try:
            setting_values.assign(config, name, setting_values.unquoted(given))
        except ValueError as error:
            raise checks.UserError(
                f"The suite sets {text!r} for {recipe.algorithm}, of the wrong kind: "
                f"it must be {error}. Give a value like the one before: {before!r}."
            ) from error


def dataset_label(config: ml_collections.ConfigDict) -> str:
    """Returns what the dataset is called: its name, or that of its file."""
    if config.dataset.path:
        return pathlib.Path(config.dataset.path).stem
    return config.dataset.name


def _folder(name: str) -> str:
    """Returns a name as one of a folder."""
    return durable.short_name(re.sub(r"[^-.\w]", "_", name), 200)


def _has(config: ml_collections.ConfigDict, name: str) -> bool:
    return name in config_checks.flatten(config.to_dict())


def _value(config: ml_collections.ConfigDict, name: str) -> Any:
    return config_checks.flatten(config.to_dict())[name]


def _job(
    name: str,
    variant: str,
    label: str,
    source: str | None,
    config: ml_collections.ConfigDict,
) -> Job:
    """Returns a job whose config the trainer would accept."""
    try:
        if source is not None:
            config.offline.restore = source
        resolution.complete(config)
        config_checks.check(config)
        environments.check(config, resolution.resolve(config).task)
        if config.dataset.path:
            d4rl.resolve(config.dataset.name, config.dataset.path, download=False)
    except checks.UserError as error:
        raise checks.UserError(f"The job {name} of the suite: {error}") from error
    config.offline.restore = None
    # As it will be read back: lists, no tuples.
    plain = json.loads(json.dumps(config.to_dict()))
    return Job(name, config.algorithm, variant, label, source, plain)
