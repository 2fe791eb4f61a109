"""Models that a weight trains on the offline data: the protocol, and the C-VAE."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from samg_jax import losses
from samg_jax.guidance import collapse, cvae, nearest, normals
from samg_jax.types import Metrics, Params


class Settings(Protocol):
    """The training settings of a model.

    Attributes:
        steps: The number of updates.
        batch_size: The number of rows in each update.
        holdout: The share of the rows that examine the model and do not train it.
    """

    @property
    def steps(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def holdout(self) -> float: ...


class Model(Protocol):
    """A model that a weight needs; `jax.vmap` trains it for all seeds.

    A frozen dataclass without arrays implements it. A checkpoint's fit serves any model
    that equals the one it was saved with, so everything that changes the fit must be a
    field. All rows are raw: `[B, O]`, `[B, A]`, `[B, O]`.

    Attributes:
        name: The name of the model's random streams, and of its phase in
            `training.csv`.
        title: The name in progress bars and messages.
        settings: The settings of the training.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    def measure(
        self, observations: np.ndarray, actions: np.ndarray, next_observations: Any
    ) -> Any:
        """Measure all offline rows on the host, for `init`; may return None."""

    def init(self, key: chex.PRNGKey, measured: Any) -> Any:
        """A fresh state of one seed; without `measured`, only its shapes are used.

        Trained networks are `types.ModelState`s; the count of updates is named `step`.
        """

    def update(
        self,
        state: Any,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[Any, Metrics]:
        """Take one gradient step; returns the new state and scalar metrics."""

    def empty(self, state: Any) -> Any:
        """Zeros with the shapes of one seed's `fit`."""

    def fit(
        self,
        state: Any,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        rows: jax.Array | None = None,
    ) -> Any:
        """Fit the arrays that the weight reads, `[S, ...]`, to all rows.

        Args:
            state: The model's state, stacked over seeds except for its `step`.
            observations: `[M, O]`, usually too many to process at once.
            actions: `[M, A]`.
            next_observations: `[M, O]`.
            rows: `[R]` rows that trained the model, for parts of the fit that must not
                see the others; None for all.
        """

    def examine(
        self,
        state: Any,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
    ) -> Mapping[str, np.ndarray]:
        """Findings on rows held out from training, `[S]` each."""

    def describe(self, findings: Mapping[str, float]) -> str:
        """One seed's findings in words, for the log."""

    def warning(self, findings: Mapping[str, float]) -> str:
        """What is wrong and what to do about it; empty if nothing is wrong."""


class CVAEWeight(struct.PyTreeNode):
    """The arrays that the weight "cvae" reads: the C-VAE and its latents' normals."""

    params: Params
    normals: normals.Normals


@dataclasses.dataclass(frozen=True)
class CVAEModel:
    """The C-VAE as the model of a weight; see `Model`.

    Attributes:
        cvae: The C-VAE to train.
        normal: The normals to fit to the latents, see `normals.fit`.
        codes: The number of latents that the fit stores for the kind "nearest", see
            `normals.fit`. Models that differ only in this are equal: they train
            alike, and missing latents are added without training, see
            `forks.first_fit_step`.
    """

    cvae: cvae.CVAE
    normal: str = "per_dimension"
    codes: int = dataclasses.field(default=0, compare=False)
    name: str = "cvae"
    title: str = "C-VAE"

    @property
    def settings(self) -> cvae.Config:
        return self.cvae.config

    def measure(self, observations, actions, next_observations):
        del observations
        return self.cvae.measure_target_scale(actions, next_observations)

    def init(self, key: chex.PRNGKey, measured: jax.Array | None) -> cvae.State:
        scale = jnp.ones(self.cvae.target_size) if measured is None else measured
        return self.cvae.init(key, scale)

    def update(self, state, observations, actions, next_observations, key):
        return self.cvae.update(state, observations, actions, next_observations, key)

    def empty(self, state: cvae.State) -> CVAEWeight:
        size = self.cvae.latent_size
        names = ("mean_mu", "mean_sigma", "std_mu", "std_sigma", "joint_mu")
        vectors = {name: jnp.zeros(size) for name in names}
        fitted = normals.Normals(
            **vectors,
            joint_factor=jnp.zeros((size, size)),
            nearest=nearest.empty(size, self.codes),
        )
        return CVAEWeight(jax.tree.map(jnp.zeros_like, state.model.params), fitted)

    def fit(
        self, state, observations, actions, next_observations, rows=None
    ) -> CVAEWeight:
        del next_observations
        params = state.model.params
        encode = jax.vmap(self.cvae.encode, in_axes=(0, None, None))
        fitted = normals.fit(
            encode,
            params,
            observations,
            actions,
            self.normal,
            rows=rows,
            codes=self.codes,
        )
        return CVAEWeight(params, fitted)

    def examine(self, state, observations, actions, next_observations):
        del next_observations

        @jax.jit
        @functools.partial(jax.vmap, in_axes=(0, None, None))
        def health(params, observations, actions):
            means, stds = self.cvae.encode(params, observations, actions)
            return collapse.health(means, losses.kl_divergence(means, stds))

        return jax.device_get(health(state.model.params, observations, actions))

    def describe(self, findings: Mapping[str, float]) -> str:
        return (
            f"KL {findings['kl']:.3f} (the paper aims at about 0.03), std of the "
            f"latent means {findings['mean_std']:.3f}"
        )

    def warning(self, findings: Mapping[str, float]) -> str:
        if not findings["collapsed"]:
            return ""
        return collapse.message(findings, self.settings)
