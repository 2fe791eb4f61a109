"""The policies of a checkpoint, read back without the dataset."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from samg_jax import checks
from samg_jax.training import checkpoints, forking, online
from samg_jax.training import parts as parts_lib
from samg_jax.training import seeds as seeds_lib
from samg_jax.training.parts import Parts, Preprocessing


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint that was found, not yet read.

    Attributes:
        folder: `offline/` or `online/` of a run.
        phase: `offline` or `online`.
        meta: its description.
        config: of the run, resolved.
        parts: built from the config.
    """

    folder: pathlib.Path
    phase: str
    meta: dict[str, Any]
    config: ml_collections.ConfigDict
    parts: Parts

    @property
    def steps(self) -> tuple[int, int]:
        """Offline updates and environment steps that the policies were trained for."""
        taken = self.meta["step"] if self.phase == "online" else 0
        return self.meta["offline_step"], taken

    def __str__(self) -> str:
        updates, taken = self.steps
        if self.phase == "offline":
            return f"{self.folder}, offline, update {updates:,}"
        return f"{self.folder}, online, environment step {taken:,}"


@dataclasses.dataclass(frozen=True)
class Policies:
    """What acts, for all seeds.

    Attributes:
        agent: the algorithm's state, stacked over seeds.
        preprocessing: fitted to the offline data, shared.
        alive: `[S]` whether the seed has stayed finite.
    """

    agent: Any
    preprocessing: Preprocessing
    alive: np.ndarray


def find(directory: str) -> Saved:
    """Returns a run's last checkpoint, that of the online phase if there is one.

    Args:
        directory: a run's workdir, or its `offline/` or `online/`.

    Raises:
        ValueError: where there is none, or none that can be read here.
    """
    folder = checkpoints.find_latest(directory)
    meta = forking.meta(folder)
    # Only the offline phase can be incomplete, and only it carries its config.
    phase = "offline" if "complete" in meta else "online"
    saved = meta["config"] if phase == "offline" else _config_beside(folder)
    config, parts = parts_lib.resolve_saved(saved, f"The checkpoint {folder}")
    if phase == "online" and parts.sweep:
        raise checks.UserError(
            f"The checkpoint in {str(folder)!r} is a sweep's, with several policies of "
            "every seed. One policy per seed can be read back. Its scores are in "
            "metrics.csv beside it; give the folder offline/, or the workdir of a run "
            "with one of the values."
        )
    return Saved(folder, phase, meta, config, parts)


def _config_beside(folder: pathlib.Path) -> dict[str, Any]:
    path = folder.absolute().parent / "config.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise checks.UserError(
            f"The checkpoint in {str(folder)!r} needs the config of its run, which "
            f"cannot be read: {error}. It must be {path}. Give --checkpoint=WORKDIR, "
            "with its files as the run left them."
        ) from error


def restore(saved: Saved) -> Policies:
    """Returns the policies of a checkpoint.

    Raises:
        ValueError: where its files are damaged.
    """
    parts, like = saved.parts, forking.template(saved.parts)
    if saved.phase == "online":
        shape = len(parts.seeds), parts.task.observation_size
        first = jax.ShapeDtypeStruct(shape, np.float32)
        like = jax.eval_shape(
            lambda state, first: online.init(parts, saved.config.online, state, first),
            like,
            first,
        )
    store = checkpoints.Store(saved.folder)
    try:
        state, _ = store.restore(like)
    finally:
        store.close()
    return Policies(state.agent, state.preprocessing, np.asarray(state.alive))


def of_seed(
    parts: Parts, policies: Policies, index: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the evaluation policy of one seed: `[O]` to `[A]`, raw observations.

    Args:
        parts: of the experiment.
        policies: of all seeds.
        index: place of the seed.
    """
    agent = seeds_lib.select(policies.agent, index)
    normalizer = policies.preprocessing.normalizer

    @jax.jit
    def act(agent, normalizer, observations):
        return parts.online.act(agent, normalizer(observations))

    def policy(observation: np.ndarray) -> np.ndarray:
        return np.asarray(act(agent, normalizer, observation[None]))[0]

    return policy
