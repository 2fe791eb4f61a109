"""What all experiments share: dataset families, phases, evaluation, logging, seeds.

A config file starts from `get_config`, changes what differs, and locks: from there on
a misspelled name is an error. Every field can be given as a flag, such as
`--config.online.steps=20000`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_collections

from samg_jax import checks, settings
from samg_jax.experiment import spec

# Datasets by family; hyperparameters differ by family, then by dataset.
FAMILIES = {
    "locomotion": tuple(
        f"{agent}-{level}"
        for agent in ("halfcheetah", "hopper", "walker2d")
        for level in ("medium", "medium-replay", "medium-expert")
    ),
    # Ships with the package: locally collected, not D4RL.
    "demo": ("hopper-demo",),
    "antmaze": tuple(
        f"antmaze-{maze}"
        for maze in (
            "umaze",
            "umaze-diverse",
            "medium-play",
            "medium-diverse",
            "large-play",
            "large-diverse",
        )
    ),
}

# Of the library of this name; any id, which no table of ours can list.
MINARI = "minari:"
ROBOTS = ("halfcheetah", "hopper", "walker2d")

# CORL fine-tunes on AntMaze (and Adroit) only; its hyperparameters for locomotion are
# those of offline training, and of some algorithms it has none. What stands in for
# them is chosen here, and in the rows of the algorithm's file that are named:
#
#   algorithm   locomotion, offline              locomotion, online
#   BC, TD3+BC  CORL's                           none (`online.steps` is 0)
#   AWAC        CORL's                           the same; offline data are kept
#   IQL         CORL's                           the same; the actor's rate rebounds
#   CQL         CORL's, its offline script's     the same weight, 10; its 3 layers and
#               initialization                   not the 2 that fine-tuning defaults to
#   Cal-QL      CQL's, with the fine-tuning      half of each batch offline, as on
#               script's initialization, the     AntMaze
#               only one that CORL's Cal-QL has
#   SPOT        the support weights of SPOT's    discount 0.99 throughout; the weight
#               authors, without their dropout;  cools to the same share as on AntMaze
#               the rest as on AntMaze, but raw
#               rewards, normalized observations
#
# The demo has the rows that all locomotion datasets share; of SPOT's weights, which are
# given by dataset, hopper-medium's.


def task_of(dataset: str) -> str:
    """Returns the dataset's name without its version, refusing unknown names.

    Minari's keep theirs, and are known where they are read.
    """
    if dataset.startswith(MINARI):
        return dataset
    if "/" in dataset or dataset.endswith((".hdf5", ".h5")):
        raise checks.UserError(
            f"The dataset {dataset!r} is a path; after the colon stands a name. Leave "
            f"the colon and the path out, and set config.dataset.path={dataset} "
            "config.env_id=ENVIRONMENT, the one that the data were collected on."
        )
    task = dataset.removesuffix("-v2")
    known = [name for tasks in FAMILIES.values() for name in tasks]
    if task in known:
        return task
    hint = checks.hint(task, known)
    raise checks.UserError(
        f"Unknown dataset {dataset!r}. {hint}Known datasets: {', '.join(known)}. For "
        "your own file leave the name out and set config.dataset.path=FILE "
        "config.env_id=ENVIRONMENT; for a Minari dataset write minari:ID."
    )


def family_of(dataset: str) -> str:
    """Returns the family whose hyperparameters the dataset takes.

    A Minari dataset that names a robot in its id, as all do by convention, takes
    those of locomotion; of the others `other`, to which no table here has a row.
    """
    task = task_of(dataset)
    if task.startswith(MINARI):
        named = any(robot in task.lower() for robot in ROBOTS)
        return "locomotion" if named else "other"
    return next(family for family, tasks in FAMILIES.items() if task in tasks)


def override(
    config: ml_collections.ConfigDict, table: Mapping[str, Any], dataset: str
) -> None:
    """Applies the table's row for the dataset's family, then the dataset's own.

    Args:
        config: locked, so that a misspelled name in the table is an error.
        table: family or task -> nested fields that differ from the defaults.
        dataset: name of the dataset.
    """
    for row in (family_of(dataset), task_of(dataset)):
        config.update(table.get(row, {}))


def get_config(dataset: str, algorithm: str = "") -> ml_collections.ConfigDict:
    """The unlocked defaults of an algorithm for a dataset.

    Every field stands, with its default and its bounds, in `experiment/spec.py` or in
    the algorithm's module.

    Args:
        dataset: name of the dataset.
        algorithm: name of a module in `samg_jax.algorithms`. Without one `config.agent`
            is empty, and the config file fills it.
    """
    task = task_of(dataset)
    config = settings.to_config(spec.Run)
    config.algorithm = algorithm
    config.agent = ml_collections.ConfigDict()
    if algorithm:
        declared = settings.declared(f"samg_jax.algorithms.{algorithm}")
        config.agent = settings.to_config(declared)
    known = FAMILIES["locomotion"] + FAMILIES["antmaze"]
    config.dataset.name = f"{task}-v2" if task in known else task
    config.dataset.family = family_of(dataset)  # Whose hyperparameters these are.
    config.guidance = ml_collections.ConfigDict({"weight": "none"})
    if family_of(dataset) == "antmaze":
        # Successes are few and 0 or 1, so more episodes, further apart. (In CORL every
        # 5,000 updates offline, AWAC's every 1,000; training does not depend on it.)
        config.evaluation.episodes = 100
        config.offline.eval_every = config.online.eval_every = 50_000
    return config


def add_guidance(config: ml_collections.ConfigDict) -> None:
    """Turns vanilla fine-tuning into SAMG: the C-VAE's weight, online data only."""
    config.online.data = "buffer"
    config.online.buffer_size = 50_000
    config.online.warmup_steps = 1_000

    declared = settings.declared("samg_jax.guidance.weights", "GuidanceConfig")
    config.guidance = settings.to_config(declared)
