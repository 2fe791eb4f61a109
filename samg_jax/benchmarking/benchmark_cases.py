"""What is measured: one algorithm in one phase, at one size."""

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
    config_checks,
    resolution,
    setting_values,
    size_limits,
)

# Whose shapes and hyperparameters: a dataset of each family.
DATASETS = {"locomotion": "halfcheetah-medium", "antmaze": "antmaze-medium-play"}
# The last three are protocols of fine-tuning; `no_data` trains on the data of `samg`.
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
        family: key of `DATASETS`.
        seeds: S.
        batch_size: B; None for the config's.
        rows: of the offline data.
        updates_per_step: UTD, of fine-tuning.
        overlap: whether the environments step beside the updates of fine-tuning.
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
        """Returns the fields that name the case in a report."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name != "settings"}


def product(
    algorithms: Sequence[str], phases: Sequence[str], **sizes: Sequence[Any]
) -> list[Case]:
    """Returns all combinations that exist: baselines are not guided.

    Args:
        algorithms: of `ALGORITHMS`.
        phases: of `PHASES`.
        **sizes: field of `Case` -> values.
    """
    return [
        Case(algorithm, phase, **dict(zip(sizes, values, strict=True)))
        for algorithm in algorithms
        for values in itertools.product(*sizes.values())
        for phase in phases
        if algorithm in TRAINED_IN[phase]
    ]


def check_names(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raises UserError for names unknown or repeated, and for none at all."""
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
    """Returns the values as integers; raises UserError for 0, repeated, or none."""
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
    """Returns the config of a case, complete and checked.

    Args:
        case: to be measured.
        configs: folder of the config files.
        data: HDF5 file of `case.rows` rows; None where only the config is wanted.

    Raises:
        checks.UserError: where the trainer would refuse it.
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
        config.env_id = resolution.resolve_task(config).env_id
        config.dataset.path = str(data)
    resolution.complete(config)
    config_checks.check(config)
    return config


def check(cases: Sequence[Case], configs: pathlib.Path) -> None:
    """Raises UserError where a case cannot be built; computes nothing."""
    for case in cases:
        if case.rows < LEAST_ROWS:
            raise checks.UserError(
                f"rows is {case.rows}. At least {LEAST_ROWS} are allowed, so that "
                "there is a whole episode to scale rewards by. Give more."
            )
        config = load(case, configs)
        task = resolution.resolve(config).task
        sizes = task.observation_size, task.action_size
        # The buffer of an online phase is not what is measured.
        fields = size_limits.flatten(config.to_dict()) | {"online.steps": 0}
        size_limits.check(fields, *sizes)
        row = size_limits.NUMBER * (2 * task.observation_size + task.action_size + 3)
        size_limits.count("rows", case.rows)
        needed = row * case.rows
        size_limits.memory(f"rows={case.rows} takes", needed, "Lower it.")
