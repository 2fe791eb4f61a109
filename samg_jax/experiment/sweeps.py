"""Several values of a setting in one process: every seed once per combination.

The offline phase is shared; fine-tuning runs in replicas, one per seed and combination,
each of which is, up to rounding, the run forked from that phase with those values. A
replica draws what its seed draws alone, so that replicas differ by their values only.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from samg_jax import algorithms, checks, settings
from samg_jax.experiment import setting_values, unread_fields
from samg_jax.guidance import weights

P = TypeVar("P", bound=Any)


class Axis(NamedTuple):
    """One swept setting.

    Attributes:
        name: dotted, such as `guidance.threshold`.
        texts: the values as they were given.
        values: as numbers.
    """

    name: str
    texts: tuple[str, ...]
    values: tuple[float, ...]


def parse(
    fields: Mapping[str, Any], guidance: weights.GuidanceConfig
) -> tuple[Axis, ...]:
    """Returns the axes of the config's `sweep`, checked; of several, their product.

    Args:
        fields: A complete config as nested dictionaries, with `sweep` as texts like
            `guidance.threshold=0,0.3`, or without.
        guidance: The settings of the guidance in it.
    """
    algorithm = fields["algorithm"]
    axes = tuple(parse_axis(text, algorithm) for text in fields.get("sweep", ()))
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise checks.UserError(
                f"sweep names {name} more than once. Each setting has one list of "
                f"values. Set sweep={name}=... once, with all of them."
            )
    if axes and not fields["online"]["steps"]:
        raise checks.UserError(
            "sweep is given with config.online.steps 0. A sweep varies fine-tuning; "
            "the offline phase is shared. Set config.online.steps=20000, for "
            "example, or leave sweep out."
        )
    for axis in axes:
        reason = unread_fields.for_fine_tuning(axis.name, fields, names)
        if reason:
            raise checks.UserError(
                f"sweep varies {axis.name}, but {reason}, so all of its values would "
                "give the same run. Sweep a setting that is read, or change that."
            )
        check_values(axis, algorithm, guidance)
    return axes


def parse_axis(text: str, algorithm: str) -> Axis:
    """Returns one axis from a text such as `guidance.threshold=0,0.3`."""
    name, _, listed = text.partition("=")
    name = name.strip().removeprefix("config.")
    allowed = sweepable(algorithm)
    if name not in allowed:
        hint = checks.hint(name, allowed)
        raise checks.UserError(
            f"sweep={text} varies {name!r}, which cannot be swept. {hint}Sweepable "
            f"with {algorithm!r} are {', '.join(allowed)}. Name one of these, "
            "as in sweep=guidance.threshold=0,0.3,0.5,0.75."
        )
    texts = tuple(part.strip() for part in listed.split(","))
    kind = int if name == "guidance.cutoff_steps" else float
    try:
        values = tuple(setting_values.convert(part, kind) for part in texts)
    except ValueError as error:
        raise checks.UserError(
            f"sweep={text} has values that are no {kind.__name__}: {listed!r}. Write "
            f"numbers separated by commas, as in sweep={name}=1,2."
        ) from error
    if len(set(values)) < len(values):
        raise checks.UserError(
            f"sweep={text} names a value twice. Each is run once per seed. Name "
            "every value once; for more runs raise config.num_seeds."
        )
    return Axis(name, texts, values)


def sweepable(algorithm: str) -> list[str]:
    """Returns the dotted names of what can be swept with an algorithm."""
    groups = {
        "guidance": weights.GuidanceConfig,
        "agent": algorithms.module(algorithm).Config,
    }
    return [
        f"{group}.{name}"
        for group, cls in groups.items()
        for name in settings.sweepable(cls)
    ]


def check_values(axis: Axis, algorithm: str, guidance: weights.GuidanceConfig) -> None:
    """Raises UserError for a value that the setting may not have."""
    group, field = axis.name.split(".")
    if axis.name == "guidance.delta" and guidance.threshold_quantile is not None:
        raise checks.UserError(
            "sweep varies guidance.delta with config.guidance.threshold_quantile "
            f"{guidance.threshold_quantile}. The offline quantiles are those of one "
            "width. Set config.guidance.threshold instead, or fork a run per width."
        )
    for value in axis.values:
        if group == "guidance":
            changes: dict[str, Any] = {field: value}
            dataclasses.replace(guidance, **changes)
        else:
            declared = algorithms.module(algorithm).Config
            settings.check_value(declared, field, value, "config.agent.")


def spread(experiment: P) -> P:
    """The experiment of fine-tuning: one replica per combination and seed.

    All seeds of the first combination come first. Without a sweep it is
    the experiment as it is.
    """
    if not experiment.sweep:
        return experiment
    count = len(experiment.seeds)
    combinations = list(itertools.product(*(axis.values for axis in experiment.sweep)))
    columns = zip(*combinations, strict=True)
    return dataclasses.replace(
        experiment,
        seeds=np.tile(experiment.seeds, len(combinations)),
        labels=tuple(np.repeat(labels(experiment.sweep), count).tolist()),
        swept={
            axis.name: np.repeat(column, count)
            for axis, column in zip(experiment.sweep, columns, strict=True)
        },
    )


def labels(axes: Sequence[Axis]) -> list[str]:
    """Returns the name of every combination, such as `threshold=0.3 strength=1`."""
    short = [axis.name.split(".")[1] for axis in axes]
    return [
        " ".join(f"{name}={text}" for name, text in zip(short, texts, strict=True))
        for texts in itertools.product(*(axis.texts for axis in axes))
    ]


def of_group(experiment: Any, group: str) -> dict[str, np.ndarray]:
    """Returns field -> `[S]` of the swept settings of `guidance` or `agent`."""
    return {
        name.removeprefix(f"{group}."): values
        for name, values in experiment.swept.items()
        if name.startswith(f"{group}.")
    }
