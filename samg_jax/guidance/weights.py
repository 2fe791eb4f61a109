"""The weight p(s, a) of a transition: the members of SAMG's class, and the cut."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from samg_jax import checks, settings
from samg_jax.guidance import cvae, embedding, models, normals
from samg_jax.types import Params

NEVER = np.iinfo(np.int32).max  # A cut-off that no run reaches.


@dataclasses.dataclass(frozen=True)
class GuidanceConfig:
    """Settings of the guidance.

    Attributes:
        weight: The weight p(s, a): `cvae` is SAMG; `embedding`, `even` (0.5),
            `constant` and `random` are its ablations; `none` is no guidance; registered
            weights have their own names.
        module: A Python module that registers your own weights; it is imported before
            the config is checked.
        weight_preset: The named settings that fill the fields left at None: `paper`, or
            `best`, the best measured here; a field that you set wins.
        kind: How p_int measures familiarity under the C-VAE: `tail` and `window`
            average per-dimension probabilities, `joint` uses one normal with full
            covariance, `nearest` the distance to stored offline latents.
        fit: The normals fitted to the latents: one `per_dimension`, or one `pooled`
            over all dimensions.
        cut: How the threshold acts: `hard` sets a weight below it to 0, `soft`
            multiplies by a sigmoid.
        threshold: The bound p_m_off of Eq. 3, below which a hard cut sets p to 0.
        threshold_quantile: The quantile of p_int over the offline data that replaces
            `threshold`; None keeps `threshold`.
        temperature: The width of the soft cut's sigmoid.
        delta: The half-width of the kind `window`, in standard deviations of the
            normal.
        use_std: Whether p_int averages in the probability of the latent standard
            deviations.
        references: The number of offline latents that the kind `nearest` stores.
        constant: The value of the weight `constant`.
        strength: The factor on every weight; 0 is the p = 0 control, which learns what
            the base algorithm learns.
        cutoff_steps: The last online step with guidance; None guides to the end.
        penalty: How guidance treats CQL's conservative penalty: `mixed` blends it with
            the frozen critic's, which weakens it by p; `online` leaves it alone.
        freeze: Which critic guides: the `target_critic` or the trained `critic`, as
            they are when the offline phase ends.
        cvae: The settings of the C-VAE.
        embedding: The settings of the embedding network.
    """

    weight: str = settings.field(
        "cvae",
        allowed="`cvae`, `embedding`, `even`, `constant`, `random`, `none`, or "
        "your own",
    )
    module: str | None = settings.field(
        None, allowed="the name of a module, without .py, or None", compare=False
    )
    # The comparison covers the fields that the preset has filled in.
    weight_preset: str = settings.choice("paper", "paper", "best", compare=False)
    kind: str = settings.choice(
        "tail", "tail", "window", "joint", "nearest", filled=True
    )
    fit: str = settings.choice("per_dimension", "per_dimension", "pooled", filled=True)
    cut: str = settings.choice("hard", "hard", "soft")
    threshold: float = settings.number(0.5, 0, 1, sweepable=True)
    threshold_quantile: float | None = settings.number(
        None, 0, 1, example=0.2, sweepable=True
    )
    temperature: float = settings.number(0.05, 0, open=True, sweepable=True)
    delta: float = settings.number(1.0, 0, open=True, sweepable=True)
    use_std: bool = settings.field(False, filled=True)
    references: int = settings.count(8_192, 4_096)
    constant: float = settings.number(0.5, 0, 1, sweepable=True)
    strength: float = settings.number(1.0, 0, 1, sweepable=True)
    cutoff_steps: int | None = settings.count(None, 0, sweepable=True)
    penalty: str = settings.choice("mixed", "mixed", "online")
    freeze: str = settings.choice("target_critic", "target_critic", "critic")
    cvae: cvae.Config = dataclasses.field(
        default_factory=settings.Group("samg_jax.guidance.cvae")
    )
    embedding: embedding.Config = dataclasses.field(
        default_factory=settings.Group("samg_jax.guidance.embedding")
    )

    def __post_init__(self):
        advice = (
            "Set config.guidance.weight to one of these, or register your own and "
            "name its module by config.guidance.module."
        )
        checks.choice("config.guidance.weight", self.weight, REGISTRY, advice)
        settings.check(type(self), vars(self), "config.guidance.")
        normals.check_kind(self.kind, self.fit, self.use_std)


class Guidance(struct.PyTreeNode):
    """Everything the guidance needs online; frozen, arrays only.

    Settings are leaves that may differ between seeds, so a sweep is one more axis.

    Attributes:
        offline: the frozen value parameters.
        weight: the arrays that the weight's function reads; `()` if none.
        threshold: `[]` p_m_off.
        temperature: `[]` softness of the soft cut.
        delta: `[]` half-width of the window.
        strength: `[]` factor on all weights.
        constant: `[]` value of the weight "constant".
        cutoff_steps: `[]` last online step with guidance.
    """

    offline: Params
    weight: Any
    threshold: jax.Array
    temperature: jax.Array
    delta: jax.Array
    strength: jax.Array
    constant: jax.Array
    cutoff_steps: jax.Array


class WeightFn(Protocol):
    """The function of a weight; `guidance.weight` holds what it needs of the data."""

    def __call__(
        self,
        config: GuidanceConfig,
        guidance: Guidance,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """The weights p `[B]` in [0, 1]; `[B, O]`, `[B, A]` and `[B, O]` are raw."""


@dataclasses.dataclass(frozen=True)
class Weight:
    """One member of the class of weights.

    Attributes:
        fn: The function that returns p, or p_int if `cut`.
        cut: Whether the threshold applies.
        model: A function `(config, O, A) -> model` for the model that the weight
            needs, if any.
    """

    fn: WeightFn
    cut: bool = False
    model: Callable[[GuidanceConfig, int, int], models.Model] | None = None


def make_guidance(
    config: GuidanceConfig,
    offline: Params,
    weight: Any = (),
    threshold: jax.Array | None = None,
) -> Guidance:
    """Make the guidance toward copies of `offline` and `weight`.

    References would become invalid when the state that they come from is donated.

    Args:
        config: The config of the guidance.
        offline: The value parameters to freeze.
        weight: The arrays that the weight's function reads.
        threshold: `[]` from `quantiles.at`; needed if `threshold_quantile` is set.
    """
    if threshold is None:
        if config.threshold_quantile is not None and REGISTRY[config.weight].cut:
            raise checks.UserError(
                "config.guidance.threshold_quantile is "
                f"{config.threshold_quantile:g}, but no threshold was given. It needs "
                "the probabilities of the offline data. Pass what "
                "quantiles.at returns for them."
            )
        threshold = config.threshold
    settings = ("temperature", "delta", "strength", "constant")
    leaves = {name: jnp.float32(getattr(config, name)) for name in settings}
    never = config.cutoff_steps is None
    leaves["cutoff_steps"] = jnp.int32(NEVER if never else config.cutoff_steps)
    offline, weight = jax.tree.map(jnp.copy, (offline, weight))
    threshold = jnp.asarray(threshold, jnp.float32)
    return Guidance(offline=offline, weight=weight, threshold=threshold, **leaves)


def weights(config: GuidanceConfig) -> Callable[..., jax.Array]:
    """The function that computes the weights of transitions.

    Its signature is `(guidance, observations [B, O], actions [B, A],
    next_observations [B, O], key) -> p [B]`, after the cut and before the strength.
    """
    fn = probabilities(config)

    def weigh(guidance, *inputs):
        p = fn(guidance, *inputs)
        if REGISTRY[config.weight].cut:
            p = cut(p, guidance.threshold, config.cut, guidance.temperature)
        return p

    return weigh


def probabilities(config: GuidanceConfig) -> Callable[..., jax.Array]:
    """The function `weights` without the cut: p_int, if the weight has one.

    It reads only the weight and the settings, so its `guidance` needs no critic.
    """
    fn = functools.partial(REGISTRY[config.weight].fn, config)

    def checked(guidance, observations, actions, next_observations, key):
        p = fn(guidance, observations, actions, next_observations, key)
        chex.assert_shape(p, (observations.shape[0],))
        return p

    return checked


def cut(
    p_int: jax.Array,
    threshold: jax.Array | float,
    mode: str = "hard",
    temperature: jax.Array | float = 0.05,
) -> jax.Array:
    """Apply the cut, which removes the weights of unfamiliar pairs.

    Args:
        p_int: `[B]` probabilities; NaN stays NaN.
        threshold: The threshold p_m_off.
        mode: "hard" for 0 below the threshold, SAMG (2024), Eq. 3; "soft" for the
            factor `sigmoid((p_int - threshold) / temperature)`.
        temperature: The softness of the soft cut.

    Returns:
        `[B]`.
    """
    chex.assert_rank(p_int, 1)
    checks.choice("config.guidance.cut", mode, ("hard", "soft"))
    if mode == "soft":
        return p_int * jax.nn.sigmoid((p_int - threshold) / temperature)
    return jnp.where(p_int < threshold, 0.0, p_int)


def cvae_probabilities(
    config: GuidanceConfig,
    weight: models.CVAEWeight,
    delta: jax.Array,
    observations: jax.Array,
    actions: jax.Array,
) -> jax.Array:
    """p_int `[B]` of pairs `[B, O]`, `[B, A]` under the C-VAE, before the cut."""
    model = cvae.CVAE(config.cvae, observations.shape[-1], actions.shape[-1])
    means, stds = model.encode(weight.params, observations, actions)
    return normals.probabilities(
        config.kind, means, stds, weight.normals, delta, config.use_std
    )


def register(
    name: str,
    fn: WeightFn,
    cut: bool = False,
    model: Callable[[GuidanceConfig, int, int], models.Model] | None = None,
) -> None:
    """Makes a weight available as `--config.guidance.weight=name`; see `Weight`."""
    if name in REGISTRY:
        raise checks.UserError(
            f"A weight named {name!r} is already registered. Taken: "
            f"{', '.join(sorted(REGISTRY))}. Choose another name."
        )
    REGISTRY[name] = Weight(fn, cut, model)


def _cvae(config, guidance, observations, actions, next_observations, key):
    del next_observations, key
    return cvae_probabilities(
        config, guidance.weight, guidance.delta, observations, actions
    )


def _cvae_model(config, observation_size, action_size):
    model = cvae.CVAE(config.cvae, observation_size, action_size)
    codes = config.references if config.kind == "nearest" else 0
    return models.CVAEModel(model, config.fit, codes)


def _embedding(config, guidance, observations, actions, next_observations, key):
    del key
    return embedding.probabilities(
        config.embedding, guidance.weight, observations, actions, next_observations
    )


def _constant(config, guidance, observations, actions, next_observations, key):
    del config, actions, next_observations, key
    return jnp.full(observations.shape[0], guidance.constant)


def _even(config, guidance, observations, actions, next_observations, key):
    del config, guidance, actions, next_observations, key
    return jnp.full(observations.shape[0], 0.5)


def _random(config, guidance, observations, actions, next_observations, key):
    del config, guidance, actions, next_observations
    return jax.random.uniform(key, observations.shape[:1])


def _none(config, guidance, observations, actions, next_observations, key):
    del config, guidance, actions, next_observations, key
    return jnp.zeros(observations.shape[0])


REGISTRY: dict[str, Weight] = {
    "cvae": Weight(_cvae, cut=True, model=_cvae_model),
    "embedding": Weight(_embedding, cut=True, model=embedding.make_model),
    "constant": Weight(_constant),
    "even": Weight(_even),
    "random": Weight(_random),
    "none": Weight(_none),
}
BUILT_IN = frozenset(REGISTRY)
