"""The weight p(s, a) of a transition: the members of SAMG's class, and their cut."""

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

from samg_jax.guidance import cvae, normals, validation
from samg_jax.types import Params

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
CUTS = ("hard", "soft")


@dataclasses.dataclass(frozen=True)
class GuidanceConfig:
    """Settings of the guidance.

    Attributes:
        weight: name of a registered weight.
        kind: what the C-VAE's probability means, see `normals.probabilities`.
        fit: "per_dimension" or "pooled", see `normals.fit`.
        cut: "hard" or "soft", see `cut`.
        threshold: p_m_off, below which a weight is cut.
        threshold_quantile: if given, the threshold is this quantile of p_int over the
            offline data, and `threshold` is not read.
        temperature: softness of the soft cut.
        delta: half width of the window, in standard deviations.
        use_std: averages with the probability of the latent stds.
        constant: value of the weight "constant".
        strength: factor on all weights; 0 is the base algorithm.
        cutoff_steps: online steps after which there is no guidance; `None` for never.
        penalty: "mixed" blends the conservative term of CQL, "online" leaves it.
        freeze: which parameters are the offline model, "target_critic" or "critic".
        cvae: settings of the C-VAE.
    """

    weight: str = "cvae"
    kind: str = "tail"
    fit: str = "per_dimension"
    cut: str = "hard"
    threshold: float = 0.5
    threshold_quantile: float | None = None
    temperature: float = 0.05
    delta: float = 1.0
    use_std: bool = False
    constant: float = 0.5
    strength: float = 1.0
    cutoff_steps: int | None = None
    penalty: str = "mixed"
    freeze: str = "target_critic"
    cvae: cvae.Config = dataclasses.field(default_factory=cvae.Config)

    def __post_init__(self):
        name = "config.guidance.{}".format
        advice = "Set --config.guidance.weight to one of these, or register your own."
        validation.choice(name("weight"), self.weight, REGISTRY, advice)
        validation.choice(name("kind"), self.kind, normals.KINDS)
        validation.choice(name("fit"), self.fit, normals.FITS)
        validation.choice(name("cut"), self.cut, CUTS)
        validation.choice(name("penalty"), self.penalty, ("mixed", "online"))
        validation.choice(name("freeze"), self.freeze, ("target_critic", "critic"))
        for field in ("threshold", "constant", "strength"):
            validation.number(name(field), getattr(self, field), 0, 1, 0.5)
        for field in ("temperature", "delta"):
            value = getattr(self, field)
            validation.number(name(field), value, 0, np.inf, 0.05, strict=True)
        if self.threshold_quantile is not None:
            quantile = self.threshold_quantile
            validation.number(name("threshold_quantile"), quantile, 0, 1, 0.2)
        if self.cutoff_steps is not None:
            validation.integer(name("cutoff_steps"), self.cutoff_steps, 0, 100_000)
        normals.check_use_std(self.kind, self.use_std)


class CVAEWeight(struct.PyTreeNode):
    """What the weight "cvae" reads: the trained C-VAE and the normals of its code."""

    params: Params
    normals: normals.Normals


class Guidance(struct.PyTreeNode):
    """Everything the guidance needs online; frozen, arrays only.

    The settings among the leaves may differ between seeds, so a sweep is one axis.

    Attributes:
        offline: the frozen value parameters.
        weight: what the weight's function reads, `()` if nothing.
        threshold: `[]` p_m_off.
        temperature: `[]` softness of the soft cut.
        delta: `[]` half width of the window.
        strength: `[]` factor on all weights.
        constant: `[]` value of the weight "constant".
    """

    offline: Params
    weight: Any
    threshold: jax.Array
    temperature: jax.Array
    delta: jax.Array
    strength: jax.Array
    constant: jax.Array


class WeightFn(Protocol):
    """One member of the class: final weights, after any cut."""

    def __call__(
        self,
        config: GuidanceConfig,
        guidance: Guidance,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """Returns p `[B]` in [0, 1]; `[B, O]`, `[B, A]` and `[B, O]` are raw."""


def make_guidance(
    config: GuidanceConfig,
    offline: Params,
    weight: Any = (),
    threshold: jax.Array | None = None,
) -> Guidance:
    """Returns the guidance towards `offline`, which is copied, as is `weight`.

    A reference would be deleted with the state that it comes from when that is donated.

    Args:
        config: of the guidance.
        offline: value parameters to freeze.
        weight: what the weight's function reads.
        threshold: `[]` from `offline_threshold`; needed if `threshold_quantile` is set.
    """
    if threshold is None:
        if config.threshold_quantile is not None and config.weight not in UNCUT:
            raise ValueError(
                "config.guidance.threshold_quantile is "
                f"{config.threshold_quantile:g}, but no threshold was given. It needs "
                "the probabilities of the offline data. Pass what "
                "weights.offline_threshold returns for them."
            )
        threshold = config.threshold
    settings = ("temperature", "delta", "strength", "constant")
    leaves = {name: jnp.float32(getattr(config, name)) for name in settings}
    offline, weight = jax.tree.map(jnp.copy, (offline, weight))
    threshold = jnp.asarray(threshold, jnp.float32)
    return Guidance(offline=offline, weight=weight, threshold=threshold, **leaves)


def weights(config: GuidanceConfig) -> Callable[..., jax.Array]:
    """Returns the function that weighs transitions.

    It is `(guidance, observations [B, O], actions [B, A], next_observations [B, O],
    key) -> p [B]`, after the cut and before the strength.
    """
    fn = functools.partial(REGISTRY[config.weight], config)

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
    """Returns the weights without those of pairs that are too unfamiliar.

    Args:
        p_int: `[B]` probabilities; one that is not a number stays so.
        threshold: p_m_off.
        mode: "hard" for 0 below the threshold, SAMG (2024), Eq. 3; "soft" for the
            factor `sigmoid((p_int - threshold) / temperature)`.
        temperature: softness of the soft cut.

    Returns:
        `[B]`.
    """
    chex.assert_rank(p_int, 1)
    validation.choice("config.guidance.cut", mode, CUTS)
    if mode == "soft":
        return p_int * jax.nn.sigmoid((p_int - threshold) / temperature)
    return jnp.where(p_int < threshold, 0.0, p_int)


def cvae_probabilities(
    config: GuidanceConfig,
    weight: CVAEWeight,
    delta: jax.Array,
    observations: jax.Array,
    actions: jax.Array,
) -> jax.Array:
    """Returns p_int `[B]` of pairs `[B, O]`, `[B, A]` under the C-VAE, not cut."""
    model = cvae.CVAE(config.cvae, observations.shape[-1], actions.shape[-1])
    means, stds = model.encode(weight.params, observations, actions)
    return normals.probabilities(
        config.kind, means, stds, weight.normals, delta, config.use_std
    )


def offline_probabilities(
    fn: Callable[[Any, jax.Array, jax.Array], jax.Array],
    weight: Any,
    observations: jax.Array,
    actions: jax.Array,
    batch_size: int = 16_384,
) -> np.ndarray:
    """Returns p_int of all offline pairs, `[..., M]`, on the host.

    Args:
        fn: `(weight, observations [b, O], actions [b, A]) -> p_int [..., b]`, with
            leading axes if it is mapped over seeds.
        weight: first argument of `fn`.
        observations: `[M, O]` raw.
        actions: `[M, A]`.
        batch_size: rows given to `fn` at once.
    """
    batches = normals.in_batches(fn, weight, observations, actions, batch_size)
    return np.concatenate(list(batches), axis=-1)


def offline_threshold(config: GuidanceConfig, p_int: np.ndarray) -> np.ndarray:
    """Returns the threshold `[...]` for offline probabilities `[..., M]`.

    `config.threshold`, or the quantile of `p_int` that the config asks for: the
    absolute scale of p_int depends on kind, fit and the size of the action.
    """
    if config.threshold_quantile is None:
        return np.full(p_int.shape[:-1], config.threshold, np.float32)
    quantile = np.quantile(p_int, config.threshold_quantile, axis=-1)
    return np.asarray(quantile, np.float32)


def quantiles(p_int: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the quantiles to report of probabilities `[..., M]`, `[...]` each."""
    values = np.quantile(p_int, QUANTILE_LEVELS, axis=-1)
    return {
        f"p_int_q{round(100 * level):02d}": value
        for level, value in zip(QUANTILE_LEVELS, values, strict=True)
    }


def register(name: str, fn: WeightFn) -> None:
    """Makes a weight available as `--config.guidance.weight=name`."""
    if name in REGISTRY:
        raise ValueError(
            f"A weight named {name!r} is already registered. Taken: "
            f"{', '.join(sorted(REGISTRY))}. Choose another name."
        )
    REGISTRY[name] = fn


def _cvae(config, guidance, observations, actions, next_observations, key):
    del next_observations, key
    p_int = cvae_probabilities(
        config, guidance.weight, guidance.delta, observations, actions
    )
    return cut(p_int, guidance.threshold, config.cut, guidance.temperature)


def _constant(config, guidance, observations, actions, next_observations, key):
    del config, actions, next_observations, key
    return jnp.full(observations.shape[0], guidance.constant)


def _random(config, guidance, observations, actions, next_observations, key):
    del config, guidance, actions, next_observations
    return jax.random.uniform(key, observations.shape[:1])


def _none(config, guidance, observations, actions, next_observations, key):
    del config, guidance, actions, next_observations, key
    return jnp.zeros(observations.shape[0])


REGISTRY: dict[str, WeightFn] = {
    "cvae": _cvae,
    "constant": _constant,
    "random": _random,
    "none": _none,
}
UNCUT = ("constant", "random", "none")  # These read no threshold.
