"""The cases of a benchmark: one algorithm in one phase, at one size."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from samg_jax import checks
from samg_jax.experiment import (
    command_line,
    resolve,
    setting_values,
    size_limits,
)
from samg_jax.experiment.resolved import Experiment

# One dataset per family, which provides shapes and hyperparameters.
DATASETS = {"locomotion": "halfcheetah-medium", "antmaze": "antmaze-medium-play"}
# The last three are fine-tuning; `no_data` trains on the data of `samg`, unguided.
PHASES = ("offline", "vanilla", "no_data", "samg")
GUIDED = ("awac", "iql", "cql", "cal_ql")
LEAST_ROWS = 1_100
ALGORITHMS = ("bc", "td3_bc", *GUIDED, "spot")
TRAINED_IN = {
    "offline": ALGORITHMS,
    "vanilla": (*GUIDED, "spot"),
    "no_data": GUIDED,
    "samg": GUIDED,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One algorithm in one phase, at one size.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        phase: one of `PHASES`.
        family: a key of `DATASETS`.
        seeds: the number S of seeds.
        batch_size: the batch size B; None for the config's.
        rows: the number of rows of the offline data.
        updates_per_step: the updates per environment step of fine-tuning.
        overlap: whether environments step while the updates of fine-tuning run.
        settings: further fields of the config, dotted name -> value.
    """

    algorithm: str
    phase: str = "offline"
    family: str = "locomotion"
    seeds: int = 1
    batch_size: int | None = None
    rows: int = 200_000
    updates_per_step: int = 1
    overlap: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """The fields that name the case in a report."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name != "settings"}


def product(
    algorithms: Sequence[str], phases: Sequence[str], **sizes: Sequence[Any]
) -> list[Case]:
    """All combinations that exist: baselines have no guided phases.

    Args:
        algorithms: Some of `ALGORITHMS`.
        phases: Some of `PHASES`.
        **sizes: The values of each field of `Case`.
    """
    return [
        Case(algorithm, phase, **dict(zip(sizes, values, strict=True)))
        for algorithm in algorithms
        for values in itertools.product(*sizes.values())
        for phase in phases
        if algorithm in TRAINED_IN[phase]
    ]


def check_names(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuses unknown or repeated names, and an empty list."""
    if not names:
        raise checks.UserError(
            f"{flag} is empty. Allowed are {', '.join(known)}. Name at least one."
        )
    for name in names:
        if name not in known:
            hint = checks.hint(name, known)
            raise checks.UserError(
                f"{flag} has {name!r}, which is not known. {hint}Known are "
                f"{', '.join(known)}. Correct the name."
            )
    _check_repeated(flag, names)


def positive_integers(flag: str, values: Sequence[str]) -> list[int]:
    """The values as integers; refuses 0, repeated values, and an empty list."""
    try:
        numbers = setting_values.positive(values)
    except ValueError as error:
        raise checks.UserError(
            f"{flag} is {','.join(values)!r}. Allowed are positive integers, "
            f"separated by commas. Write, for example, {flag}=1,4."
        ) from error
    _check_repeated(flag, numbers)
    return numbers


def _check_repeated(flag: str, values: Sequence[Any]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise checks.UserError(
                f"{flag} is {','.join(map(str, values))!r}, which has {value} "
                f"{values.count(value)} times. Each is allowed once. Leave the others "
                "out."
            )


def load(
    case: Case, configs: pathlib.Path, data: pathlib.Path | None = None
) -> ml_collections.ConfigDict:
    """The config of a case, complete and checked.

    Args:
        case: The case to measure.
        configs: The folder of the config files.
        data: An HDF5 file of `case.rows` rows; None to get only the config.

    Raises:
        checks.UserError: The trainer would refuse the config.
    """
    samg = case.phase in ("no_data", "samg")
    name = f"{case.algorithm}_samg" if samg else case.algorithm
    dataset = DATASETS[case.family]
    config = command_line.load(str(configs / f"{name}.py"), dataset)
    config.num_seeds = case.seeds
    config.online.updates_per_step = case.updates_per_step
    config.online.overlap = case.overlap
    config.logging.progress = config.logging.tensorboard = False
    if case.batch_size is not None:
        config.offline.batch_size = config.online.batch_size = case.batch_size
    if case.phase == "no_data":
        config.guidance.weight = "none"
    with config.ignore_type():
        config.update_from_flattened_dict(dict(case.settings))
    if data is not None:
        config.env_id = resolve.task_of(config.to_dict()).env_id
        config.dataset.path = str(data)
    return config


def experiment(
    case: Case, configs: pathlib.Path, data: pathlib.Path | None = None
) -> Experiment:
    """The resolved experiment of a case; see `load`.

    Raises:
        checks.UserError: the trainer would refuse it.
    """
    return resolve.experiment(load(case, configs, data))


def check(cases: Sequence[Case], configs: pathlib.Path) -> None:
    """Refuses cases that cannot be built; computes nothing."""
    for case in cases:
        if case.rows < LEAST_ROWS:
            raise checks.UserError(
                f"rows is {case.rows}. At least {LEAST_ROWS} are allowed, so that "
                "there is a whole episode to scale rewards by. Set "
                f"rows={LEAST_ROWS} or more."
            )
        made = experiment(case, configs)
        task = made.task
        sizes = task.observation_size, task.action_size
        # The buffer of an online phase is not what is measured.
        fields = setting_values.flatten(made.record) | {"online.steps": 0}
        size_limits.check(fields, *sizes)
        row = size_limits.NUMBER * (2 * task.observation_size + task.action_size + 3)
        size_limits.count("rows", case.rows)
        needed = row * case.rows
        size_limits.memory(f"rows={case.rows} takes", needed, "Lower it.")
