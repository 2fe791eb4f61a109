"""The policies of a checkpoint, read back without the dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from samg_jax import checks, logs
from samg_jax.experiment import config_checks, resolve
from samg_jax.experiment.datasets import Preprocessing
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import checkpoints, forks, locations, lost_checkpoints, saved_configs
from samg_jax.training import online_phase, seed_axis


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint that was found, not yet read.

    Attributes:
        folder: `offline/` or `online/` of a run.
        phase: `offline` or `online`.
        meta: its description.
        experiment: The run's experiment.
        store: that has the checkpoint; a run that saves meanwhile does not delete it.
    """

    folder: pathlib.Path
    phase: str
    meta: dict[str, Any]
    experiment: Experiment
    store: checkpoints.Store

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
        checks.UserError: where there is none, or none that can be read here.
    """
    folder = locations.find_latest(directory)
    store = checkpoints.Store(folder)
    try:
        meta = store.meta()
    except checkpoints.UnreadableError as error:
        before = pathlib.Path(directory).expanduser() / "offline"
        meta = forks.meta_before(before) if folder.name == "online" else None
        if meta is None:
            raise
        logs.LOGGER.warning(*forks.fallback(error, before, meta))
        folder, store = before, checkpoints.Store(before)
        meta = store.meta()
    else:
        warn_of_lost(pathlib.Path(directory).expanduser(), folder, meta)
    phase = "offline" if saved_configs.is_offline(meta, folder.name) else "online"
    if phase == "offline":
        saved = meta["config"]
    else:  # Earlier versions left it to the file beside.
        saved = saved_configs.read_config(folder.absolute().parent)
        saved_configs.check_same_run(saved, meta, folder)
    experiment = resolve.saved(saved, f"The checkpoint {folder}")
    if phase == "online" and experiment.sweep:
        raise checks.UserError(
            f"The checkpoint in {str(folder)!r} is a sweep's, with several policies of "
            "every seed. One policy per seed can be read back. Its scores are in "
            "metrics.csv beside it; give the folder offline/, or the workdir of a run "
            "with one of the values."
        )
    return Saved(folder, phase, meta, experiment, store)


def warn_of_lost(
    directory: pathlib.Path, folder: pathlib.Path, meta: dict[str, Any]
) -> None:
    """Warns if a run's online checkpoints are gone, and its offline one is read.

    Args:
        directory: that was named; who names a phase means it.
        folder: of the checkpoint.
        meta: its description.
    """
    if folder != directory / "offline" or not saved_configs.is_offline(
        meta, folder.name
    ):
        return
    fields = config_checks.completed(meta["config"])
    if lost_checkpoints.phase(directory, fields) == "online":
        logs.LOGGER.warning(
            "%s has no checkpoint, though the tables go on to where one is due. The "
            "policy before fine-tuning is read, from %s.",
            *(directory / "online", folder / str(meta["step"])),
        )


def restore(saved: Saved) -> Policies:
    """Returns the policies of a checkpoint.

    Raises:
        checks.UserError: where its files are damaged.
    """
    experiment, like = saved.experiment, forks.template(saved.experiment)
    if saved.phase == "online":
        shape = len(experiment.seeds), experiment.task.observation_size
        first = jax.ShapeDtypeStruct(shape, np.float32)
        like = jax.eval_shape(
            lambda state, first: online_phase.init(
                experiment, experiment.settings.online, state, first
            ),
            like,
            first,
        )
    with contextlib.closing(saved.store) as store:
        state, _ = store.restore(like)
    return Policies(state.agent, state.preprocessing, np.asarray(state.alive))


def of_seed(
    experiment: Experiment, policies: Policies, index: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the evaluation policy of one seed: `[O]` to `[A]`, raw observations.

    Args:
        experiment: The resolved experiment.
        policies: of all seeds.
        index: place of the seed.
    """
    agent = seed_axis.select(policies.agent, index)
    normalizer = policies.preprocessing.normalizer

    @jax.jit
    def act(agent, normalizer, observations):
        return experiment.online.act(agent, normalizer(observations))

    def policy(observation: np.ndarray) -> np.ndarray:
        return np.asarray(act(agent, normalizer, observation[None]))[0]

    return policy
