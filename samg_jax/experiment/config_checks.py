"""Checks of a whole config, before any compute is spent."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from samg_jax import algorithms, checks, settings
from samg_jax.experiment import setting_values, size_limits, spec

# Fields that came after format version 5, with the value that runs had before them.
ADDED_FIELDS: dict[str, Any] = {"single_env": None, "evaluation.max_steps": None}

WANDB_MODES = ("off", "offline", "online")


def check(fields: Mapping[str, Any]) -> None:
    """Raises UserError at the first value that cannot be used.

    Args:
        fields: A complete config as nested dictionaries.
    """
    flat = setting_values.flatten(fields)
    check_group(spec.Run, fields, "config.")
    check_wandb(flat["logging.wandb"])
    size_limits.check_counters(flat)  # What remains is the seed's own.
    if flat["seed"] + flat["num_seeds"] > 2**32:
        raise checks.UserError(
            f"config.seed is {flat['seed']} with {flat['num_seeds']} seeds; seeds "
            "must be below 2**32. Lower config.seed."
        )
    run = settings.build(spec.Run, fields)
    agent, guidance = fields["agent"], fields["guidance"]
    declared = algorithms.module(run.algorithm).Config
    settings.check(declared, agent, "config.agent.")
    size_limits.check(flat)
    check_rewards(run.dataset)
    check_guided(run.algorithm, guidance)
    check_behavior_model(run.offline, agent)
    check_calibration(agent)
    check_online(run, guidance["weight"])
    check_annealing(guidance)


def check_group(cls: type, values: Mapping[str, Any], prefix: str) -> None:
    """Checks a group of settings and the groups in it; see `settings.check`."""
    settings.check(cls, values, prefix)
    for one in dataclasses.fields(cls):
        if settings.is_group(one):
            group = settings.of_group(one)
            check_group(group, values[one.name], f"{prefix}{one.name}.")


def check_rewards(dataset: spec.Dataset) -> None:
    """Refuses a scale or bias of rewards that does nothing, or makes them nothing."""
    scale, bias = dataset.reward_scale, dataset.reward_bias
    for name, value, neutral in (("scale", scale, 1.0), ("bias", bias, 0.0)):
        if dataset.reward_transform == "none" and value != neutral:
            raise checks.UserError(
                f"config.dataset.reward_{name} is {value}, which does nothing, as "
                "config.dataset.reward_transform is 'none'. Set "
                "config.dataset.reward_transform=affine too, or leave out the "
                f"{name}."
            )
    if scale == 0:
        raise checks.UserError(
            "config.dataset.reward_scale is 0.0, which makes all rewards equal. Set "
            "config.dataset.reward_scale=0.1, for example."
        )


def check_guided(algorithm: str, guidance: Mapping[str, Any]) -> None:
    """Raises UserError where there is no value to guide, or nothing to guide it by."""
    weight = guidance["weight"]
    if weight != "none" and not algorithms.learns_values(algorithm):
        raise checks.UserError(
            f"config.guidance.weight is {weight!r} with {algorithm!r}, which "
            "learns no value that could be guided. Set config.guidance.weight=none, "
            "or the config of another algorithm."
        )
    if weight in ("cvae", "embedding") and weight not in guidance:
        raise checks.UserError(
            f"config.guidance.weight is {weight!r}, but this config has no settings of "
            "its model. Only the configs of SAMG do. Take the file of the same name "
            f"with _samg, as in config=configs/{algorithm}_samg.py."
        )


def check_behavior_model(offline: spec.Offline, agent: Mapping[str, Any]) -> None:
    """Raises UserError where SPOT's behavior model would not be finished."""
    steps, updates = agent.get("vae_steps", 0), offline.updates
    if steps > updates and not offline.restore:
        raise checks.UserError(
            f"SPOT trains its behavior model in the first {steps} of the offline "
            f"updates, of which config.offline.updates gives {updates}. Raise it above "
            "that, or lower config.agent.vae_steps."
        )


def check_calibration(agent: Mapping[str, Any]) -> None:
    """Raises UserError where fine-tuning would calibrate what was not before."""
    if agent.get("calibrated_online") and not agent["calibrated"]:
        raise checks.UserError(
            "config.agent.calibrated_online is True but config.agent.calibrated is "
            "False. Calibration can be kept while fine-tuning, not begun. Set "
            "config.agent.calibrated=True too, or use config=configs/cal_ql.py."
        )


def check_online(run: spec.Run, weight: str) -> None:
    """Raises UserError where the online phase could not start."""
    online = run.online
    if weight != "none" and online.data != "buffer":
        raise checks.UserError(
            f"config.guidance.weight is {weight!r} with "
            f"config.online.data {online.data!r}. SAMG fine-tunes on online data only. "
            "Set config.online.data=buffer, or config.guidance.weight=none."
        )
    if run.offline.restore and not online.steps:
        raise checks.UserError(
            f"config.offline.restore is {run.offline.restore!r} with "
            "config.online.steps 0, so there is nothing to do. A fork fine-tunes. Set "
            "config.online.steps=500000, for example."
        )
    if online.steps and online.warmup_steps >= online.steps:
        raise checks.UserError(
            f"config.online.warmup_steps is {online.warmup_steps} of "
            f"config.online.steps {online.steps}, so no update would be made. Raise "
            "config.online.steps or lower config.online.warmup_steps."
        )


def check_annealing(guidance: Mapping[str, Any]) -> None:
    """Raises UserError where the C-VAE's KL term would never reach its weight."""
    if guidance["weight"] != "cvae":
        return
    cvae = guidance["cvae"]
    if not cvae["kl_warmup_steps"]:
        return
    end = (cvae["kl_warmup_start"] or 0) + cvae["kl_warmup_steps"]
    if end > cvae["steps"]:
        raise checks.UserError(
            f"The C-VAE trains for {cvae['steps']} steps, but its KL term reaches its "
            f"weight after {end}. Lower config.guidance.cvae.kl_warmup_start and "
            "config.guidance.cvae.kl_warmup_steps, or raise "
            "config.guidance.cvae.steps."
        )


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config from JSON, with the fields that did not exist when it was written."""
    full: dict[str, Any] = copy.deepcopy(dict(config))
    for name, value in ADDED_FIELDS.items():
        *groups, field = name.split(".")
        inner = full
        for group in groups:
            inner = inner.setdefault(group, {})
        inner.setdefault(field, value)
    return full


def check_wandb(mode: str) -> None:
    """Raises UserError where the library is needed and not installed."""
    if mode != "off" and importlib.util.find_spec("wandb") is None:
        raise checks.UserError(
            f"config.logging.wandb is {mode!r}, but Weights & Biases is not installed "
            'here. Run: pip install -e ".[wandb]", or set config.logging.wandb=off.'
        )
