"""What trains a weight on the offline data: the protocol, and the C-VAE as one."""

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
    """How long a model trains, and on what.

    Attributes:
        steps: number of updates.
        batch_size: rows per update.
        holdout: share of the rows on which it is examined, not trained.
    """

    steps: int
    batch_size: int
    holdout: float


class Model(Protocol):
    """A model that a weight needs, trained for all seeds by vmap.

    Implemented by a frozen dataclass without arrays. A checkpoint's fit serves any
    model that is equal to its own, so whatever changes the fit must be a field. All
    rows are raw: `[B, O]`, `[B, A]`, `[B, O]`.

    Attributes:
        name: of its draws, and of its phase in `training.csv`.
        title: in progress bars and messages.
        settings: of its training.
    """

    name: str
    title: str

    @property
    def settings(self) -> Settings: ...

    def measure(
        self, observations: np.ndarray, actions: np.ndarray, next_observations: Any
    ) -> Any:
        """Returns what `init` must know of all offline rows, on the host; or None."""

    def init(self, key: chex.PRNGKey, measured: Any) -> Any:
        """Returns a fresh state of one seed; without `measured` only its shape counts.

        What is trained is in `types.ModelState`s, a count of updates is called `step`.
        """

    def update(
        self,
        state: Any,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[Any, Metrics]:
        """Returns the state after one gradient step, and scalar metrics."""

    def empty(self, state: Any) -> Any:
        """Returns zeros of the shape of one seed's `fit`."""

    def fit(
        self,
        state: Any,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
        rows: jax.Array | None = None,
    ) -> Any:
        """Returns what the weight reads, `[S, ...]`, from all rows.

        Args:
            state: stacked over seeds, but for its `step`.
            observations: `[M, O]`, too many to be handled at once.
            actions: `[M, A]`.
            next_observations: `[M, O]`.
            rows: `[R]` those that it was trained on, None for all; for what must not
                see the others.
        """

    def examine(
        self,
        state: Any,
        observations: jax.Array,
        actions: jax.Array,
        next_observations: jax.Array,
    ) -> Mapping[str, np.ndarray]:
        """Returns findings on rows held out from training, `[S]` each."""

    def describe(self, findings: Mapping[str, float]) -> str:
        """Returns one seed's findings in words, for the log."""

    def warning(self, findings: Mapping[str, float]) -> str:
        """Returns what is wrong and what to do about it; empty where nothing is."""


class CVAEWeight(struct.PyTreeNode):
    """What the weight "cvae" reads: the trained C-VAE and the normals of its code."""

    params: Params
    normals: normals.Normals


@dataclasses.dataclass(frozen=True)
class CVAEModel:
    """The C-VAE as the model of a weight; see `Model`.

    Attributes:
        cvae: what is trained.
        normal: of the latent code, see `normals.fit`.
        codes: that the fit stores for the kind "nearest", see `normals.fit`. Two
            models that differ in this alone are equal: they train alike, and what is
            missing is found without training, see `forks.first_fit_step`.
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
