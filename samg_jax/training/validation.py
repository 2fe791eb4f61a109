"""Checks of a whole config, before any compute is spent."""

from __future__ import annotations

import math
from typing import Any

import ml_collections

from samg_jax import checks
from samg_jax.training import bounds, compilation, wandb_events

flatten = bounds.flatten
POSITIVE = (0.0, math.inf)
# Open intervals of hyperparameters, by name, whatever the algorithm.
OPEN_INTERVALS = {
    "discount": (0.0, 1.0),
    "learning_rate": POSITIVE,
    "actor_learning_rate": POSITIVE,
    "critic_learning_rate": POSITIVE,
    "inverse_temperature": POSITIVE,
    "inverse_temperature_online": POSITIVE,
    "max_weight": POSITIVE,
    "softmax_temperature": POSITIVE,
    "expectile": (0.0, 1.0),
    "discount_online": (0.0, 1.0),
    "vae_learning_rate": POSITIVE,
    "actor_head_bound": POSITIVE,
    "critic_head_bound": POSITIVE,
}
# Closed intervals.
CLOSED_INTERVALS = {
    "tau": (0.0, 1.0),
    "cql_weight": (0.0, math.inf),
    "cql_weight_online": (0.0, math.inf),
    "value_weight": (0.0, math.inf),
    "support_weight": (0.0, math.inf),
    "support_floor": (0.0, 1.0),
    "vae_beta": (0.0, math.inf),
    "policy_noise": (0.0, math.inf),
    "noise_limit": (0.0, math.inf),
    "exploration_noise": (0.0, math.inf),
}
COUNTS = {
    "num_seeds": 1,
    "seed": 0,
    "devices": 0,
    "offline.updates": 0,
    "offline.batch_size": 1,
    "offline.eval_every": 1,
    "offline.log_every": 1,
    "offline.checkpoint_every": 1,
    "online.steps": 0,
    "online.batch_size": 1,
    "online.updates_per_step": 1,
    "online.buffer_size": 1,
    "online.warmup_steps": 0,
    "online.eval_every": 1,
    "online.log_every": 1,
    "online.checkpoint_every": 1,
    "evaluation.episodes": 1,
    "evaluation.threads": 0,
    "evaluation.max_steps": 1,
    "agent.num_samples": 1,
    "agent.policy_delay": 1,
    "agent.vae_steps": 0,
}
CHOICES = {
    "dataset.reward_transform": ("none", "range", "affine"),
    "online.data": ("append", "mix", "buffer"),
    "matmul_precision": tuple(compilation.PRECISIONS),
    "logging.wandb": wandb_events.MODES,
}


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UserError at the first value that cannot be used."""
    fields = flatten(config.to_dict())
    for name, least in COUNTS.items():
        if fields.get(name) is not None and fields[name] < least:
            raise checks.UserError(
                f"config.{name} is {fields[name]}; it must be at least {least}. Set "
                f"config.{name}={least} or more."
            )
    for name, allowed in CHOICES.items():
        if fields[name] not in allowed:
            raise checks.UserError(
                f"config.{name} is {fields[name]!r}; allowed are {', '.join(allowed)}. "
                f"Set config.{name}={allowed[0]}, for example."
            )
    wandb_events.check(fields["logging.wandb"])
    bounds.check_counters(fields)  # What remains is the seed's own.
    if fields["seed"] + fields["num_seeds"] > 2**32:
        raise checks.UserError(
            f"config.seed is {fields['seed']} with {fields['num_seeds']} seeds; seeds "
            "must be below 2**32. Lower config.seed."
        )
    for name, value in config.agent.items():
        check_hyperparameter(name, value)
    bounds.check(fields)
    if not 0.0 < fields["online.offline_share"] < 1.0:
        raise checks.UserError(
            f"config.online.offline_share is {fields['online.offline_share']}; it must "
            "lie between 0 and 1, both excluded. For online data only, "
            "set config.online.data=buffer."
        )
    check_rewards(config)
    check_guided(config)
    check_behavior_model(config)
    check_calibration(config)
    check_online(config)
    check_annealing(config)


def check_hyperparameter(name: str, value: Any) -> None:
    """Raises UserError for a hyperparameter outside its interval."""
    if value is None:
        return
    if name.endswith("hidden_dims") and not is_widths(value):
        raise checks.UserError(
            f"config.agent.{name} is {value}; it must name at least one layer, each of "
            f"width 1 or more. Set config.agent.{name}='(256, 256)', for example."
        )
    low, high = OPEN_INTERVALS.get(name, (-math.inf, math.inf))
    if name in OPEN_INTERVALS and not low < value < high:
        raise checks.UserError(
            f"config.agent.{name} is {value}; it must lie between {low:g} and {high:g},"
            f" both excluded. Change config.agent.{name}."
        )
    low, high = CLOSED_INTERVALS.get(name, (-math.inf, math.inf))
    if name in CLOSED_INTERVALS and not (low <= value <= high and value < math.inf):
        raise checks.UserError(
            f"config.agent.{name} is {value}; it must be finite, between {low:g} and "
            f"{high:g}. Change config.agent.{name}."
        )


def is_widths(value: Any) -> bool:
    """Returns whether a value is one layer width or more, each at least 1."""
    return bool(value) and all(type(width) is int and width >= 1 for width in value)


def check_rewards(config: ml_collections.ConfigDict) -> None:
    """Refuses a scale or bias of rewards that does nothing, or makes them nothing."""
    dataset = config.dataset
    scale, bias = dataset.reward_scale, dataset.reward_bias
    for name, value, neutral in (("scale", scale, 1.0), ("bias", bias, 0.0)):
        if not math.isfinite(value):
            raise checks.UserError(
                f"config.dataset.reward_{name} is {value}; it must be finite. Set "
                f"config.dataset.reward_{name}={neutral}, for example."
            )
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


def check_guided(config: ml_collections.ConfigDict) -> None:
    """Raises UserError where there is no value to guide, or nothing to guide it by."""
    if config.algorithm == "bc" and config.guidance.weight != "none":
        raise checks.UserError(
            f"config.guidance.weight is {config.guidance.weight!r} with 'bc', which "
            "learns no value that could be guided. Set config.guidance.weight=none, "
            "or the config of another algorithm."
        )
    weight = config.guidance.weight
    if weight in ("cvae", "embedding") and weight not in config.guidance:
        raise checks.UserError(
            f"config.guidance.weight is {weight!r}, but this config has no settings of "
            "its model. Only the configs of SAMG do. Take the file of the same name "
            f"with _samg, as in config=configs/{config.algorithm}_samg.py."
        )


def check_behavior_model(config: ml_collections.ConfigDict) -> None:
    """Raises UserError where SPOT's behavior model would not be finished."""
    steps, updates = config.agent.get("vae_steps", 0), config.offline.updates
    if steps > updates and not config.offline.restore:
        raise checks.UserError(
            f"SPOT trains its behavior model in the first {steps} of the offline "
            f"updates, of which config.offline.updates gives {updates}. Raise it above "
            "that, or lower config.agent.vae_steps."
        )


def check_calibration(config: ml_collections.ConfigDict) -> None:
    """Raises UserError where fine-tuning would calibrate what was not before."""
    if config.agent.get("calibrated_online") and not config.agent.calibrated:
        raise checks.UserError(
            "config.agent.calibrated_online is True but config.agent.calibrated is "
            "False. Calibration can be kept while fine-tuning, not begun. Set "
            "config.agent.calibrated=True too, or use config=configs/cal_ql.py."
        )


def check_online(config: ml_collections.ConfigDict) -> None:
    """Raises UserError where the online phase could not start."""
    online = config.online
    if config.guidance.weight != "none" and online.data != "buffer":
        raise checks.UserError(
            f"config.guidance.weight is {config.guidance.weight!r} with "
            f"config.online.data {online.data!r}. SAMG fine-tunes on online data only. "
            "Set config.online.data=buffer, or config.guidance.weight=none."
        )
    if config.offline.restore and not online.steps:
        raise checks.UserError(
            f"config.offline.restore is {config.offline.restore!r} with "
            "config.online.steps 0, so there is nothing to do. A fork fine-tunes. Set "
            "config.online.steps=500000, for example."
        )
    if online.steps and online.warmup_steps >= online.steps:
        raise checks.UserError(
            f"config.online.warmup_steps is {online.warmup_steps} of "
            f"config.online.steps {online.steps}, so no update would be made. Raise "
            "config.online.steps or lower config.online.warmup_steps."
        )


def check_annealing(config: ml_collections.ConfigDict) -> None:
    """Raises UserError where the C-VAE's KL term would never reach its weight."""
    if config.guidance.weight != "cvae":
        return
    cvae = config.guidance.cvae
    if not cvae.kl_warmup_steps:
        return
    end = (cvae.kl_warmup_start or 0) + cvae.kl_warmup_steps
    if end > cvae.steps:
        raise checks.UserError(
            f"The C-VAE trains for {cvae.steps} steps, but its KL term reaches its "
            f"weight after {end}. Lower config.guidance.cvae.kl_warmup_start and "
            "config.guidance.cvae.kl_warmup_steps, or raise "
            "config.guidance.cvae.steps."
        )
