"""The room that a run's checkpoints take on the disk."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

from samg_jax import checks, durable
from samg_jax.experiment import sweeps
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import checkpoints, forks, locations
from samg_jax.training import online_phase


def states(experiment: Experiment) -> list[Any]:
    """The shapes of the states of both phases, or of the one that there is.

    That of the online phase is without the sums of metrics, a few numbers per seed.
    """
    replicas = sweeps.spread(experiment)
    pretrained = forks.template(experiment)
    found = [pretrained]
    online = experiment.settings.online
    if online.steps:
        shape = len(replicas.seeds), experiment.task.observation_size
        found.append(
            jax.eval_shape(
                lambda state, first: online_phase.before_metrics(
                    replicas, online, state, first
                ),
                forks.template(replicas) if experiment.sweep else pretrained,
                jax.ShapeDtypeStruct(shape, "float32"),
            )
        )
    return found


def check_start(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Refuses to start a run whose checkpoints do not fit on the disk.

    Counts those that are kept of each phase. Those that are there already count as
    room, because new ones replace them.

    Returns:
        The bytes that the checkpoints take at most.

    Raises:
        checks.UserError: naming the folder and the bytes.
    """
    shapes = states(experiment)
    if experiment.settings.offline.restore:
        shapes = shapes[1:]
    kept = checkpoints.KEPT * sum(map(checkpoints.needed_bytes, shapes))
    room = durable.free_bytes(workdir) + _held(workdir)
    if kept > room:
        raise checks.UserError(
            f"The checkpoints of this run need {kept:,} bytes in {str(workdir)!r}, "
            f"{checkpoints.KEPT} of each phase, but its disk has room for {room:,}. "
            "Make room, give workdir=FOLDER on a larger disk, or lower "
            "config.online.buffer_size or config.num_seeds."
        )
    return kept


def _held(workdir: pathlib.Path) -> int:
    """Bytes of the checkpoints that a workdir holds."""
    return sum(
        path.stat().st_size
        for phase in locations.PHASES
        for step in locations.steps(workdir / phase)
        for path in (workdir / phase / str(step)).rglob("*")
        if path.is_file()
    )
