"""A resolved experiment: every setting, typed, with what is built from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from samg_jax.envs import tasks, tryout
from samg_jax.experiment import spec, sweeps
from samg_jax.guidance import models, weights
from samg_jax.types import Algorithm


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is fixed in a run: no arrays, nothing that learns.

    Attributes:
        settings: The settings that all experiments have.
        record: The complete config as nested dictionaries, for JSON; never changed.
        task: The environment and its reference scores.
        physics: `d4rl` or `stock`.
        algorithm: The algorithm as it trains offline.
        online: The algorithm as it fine-tunes.
        guidance: The settings of the guidance.
        model: What trains the weight, None if that needs no training.
        seeds: `[S]` values of the seeds; one per replica once a sweep is spread.
        offline_returns: Whether offline transitions get their return-to-go.
        online_returns: Whether online transitions get their return-to-go as well.
        sweep: The swept settings, empty without a sweep.
        labels: `[S]` names of the replicas' combinations, empty until spread.
        swept: Setting -> `[S]` values of the replicas, empty until spread.
        mesh: The devices that share the seeds, see `devices`; None for one.
        trial: What the try-out of the environment has shown, see `environments`.
    """

    settings: spec.Run
    record: Mapping[str, Any]
    task: tasks.Task
    physics: str
    algorithm: Algorithm
    online: Algorithm
    guidance: weights.GuidanceConfig
    model: models.Model | None
    seeds: np.ndarray
    offline_returns: bool = False
    online_returns: bool = False
    sweep: tuple[sweeps.Axis, ...] = ()
    labels: tuple[str, ...] = ()
    swept: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    mesh: jax.sharding.Mesh | None = None
    trial: tryout.Trial = tryout.EXACT

    @property
    def by_quantile(self) -> bool:
        """Whether the threshold is a quantile of p_int over the offline data."""
        if not weights.REGISTRY[self.guidance.weight].cut:
            return False
        swept = any(axis.name == "guidance.threshold_quantile" for axis in self.sweep)
        return swept or self.guidance.threshold_quantile is not None

    @property
    def fitted(self) -> bool:
        """Whether the weight needs anything of the offline data."""
        return self.model is not None or self.by_quantile

    def name(self, replica: int) -> str:
        """What a seed is called in messages, its combination included."""
        label = f" ({self.labels[replica]})" if self.labels else ""
        return f"{self.seeds[replica]}{label}"

    def tuned(self, hyperparameters: Mapping[str, jax.Array]) -> Algorithm:
        """The algorithm as it fine-tunes, with one replica's swept hyperparameters.

        Args:
            hyperparameters: Name -> `[]`, traced; empty without a sweep of them.
        """
        if not hyperparameters:
            return self.online
        config = dataclasses.replace(self.algorithm.config, **hyperparameters)
        algorithm: Any = self.algorithm
        return dataclasses.replace(algorithm, config=config).online()
