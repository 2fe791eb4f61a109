"""What the phases of one run share on the host."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import filelock
import numpy as np
from tqdm import tqdm

from samg_jax import checks, durable, logs
from samg_jax.data import transitions
from samg_jax.experiment import sweeps
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import (
    checkpoints,
    evaluation,
    run_output,
    run_tables,
    saved_configs,
    stopwatch,
)
from samg_jax.training import devices


@dataclasses.dataclass
class Run:
    """What the phases of one run share on the host.

    Attributes:
        experiment: The resolved experiment.
        workdir: where everything is written.
        offline_store: checkpoints of the offline phase.
        online_store: checkpoints of the online phase.
        evaluate: plays the evaluation episodes.
        data_source: what the offline data are, in words.
        data_fingerprint: of their rows; None if an earlier version read them.
        writer: set once it is known where the tables continue.
        failed: positions of the seeds that were reported as failed.
        restart: compiled, from `environments.make_restart`.
        clock: where the time of fine-tuning goes, one lap per log.
        evaluated: Called with the run after each evaluation, if given.
        next_drawing: Monotonic time before which the learning curves stay as they are.
    """

    experiment: Experiment
    workdir: pathlib.Path
    offline_store: checkpoints.Store
    online_store: checkpoints.Store
    evaluate: Any = None
    data_source: str = ""
    data_fingerprint: str | None = None
    writer: run_output.Writer | None = None
    failed: set[int] = dataclasses.field(default_factory=set)
    restart: Any = None
    clock: stopwatch.Clock = dataclasses.field(default_factory=stopwatch.Clock)
    evaluated: Callable[[Run], None] | None = None
    next_drawing: float = 0.0

    def spread(self) -> None:
        """Goes on with the replicas of fine-tuning: in a sweep, more than seeds."""
        if not self.experiment.sweep:
            return
        count = len(self.experiment.seeds)
        experiment = sweeps.spread(self.experiment)
        mesh = devices.choose(len(experiment.seeds), experiment.settings.devices)
        self.experiment = dataclasses.replace(experiment, mesh=mesh)
        self.failed = {
            replica
            for replica in range(len(self.experiment.seeds))
            if replica % count in self.failed
        }
        self.writer.replicas = [
            (int(seed), label)
            for seed, label in zip(
                self.experiment.seeds, self.experiment.labels, strict=True
            )
        ]
        self.evaluate = evaluation.of_run(self.experiment)

    def score(self, phase: str, steps: tuple[int, int], state: Any) -> str:
        """Evaluates, writes the scores down, and returns them for the bar."""
        scores = self.evaluate(state.agent, state.preprocessing)
        self.writer.evaluation(phase, steps, scores, np.asarray(state.alive))
        if self.experiment.task.sparse:
            rates = evaluation.success_rates(scores)
            self.writer.training(phase, steps, {"success_rate": rates})
        text = ", ".join(f"{value:.1f}" for value in best_scale(scores))
        logs.LOGGER.info("%s %s: %s", phase, steps, text)
        if self.evaluated is not None:
            self.evaluated(self)
        return text

    def bar(self, phase: str, done: int, total: int, unit: str) -> tqdm:
        """Returns the progress bar of a phase."""
        return tqdm(
            desc=phase,
            initial=done,
            total=total,
            unit=unit,
            disable=not self.experiment.settings.logging.progress,
            dynamic_ncols=True,
        )


def best_scale(scores: evaluation.Scores) -> np.ndarray:
    """Returns normalized scores `[S]`, or mean returns where there is no reference."""
    if np.isnan(scores.normalized).all():
        return scores.returns.mean(axis=1)
    return scores.normalized


@dataclasses.dataclass
class ResumePlan:
    """Where the run stands and what it needs, found before any compute.

    Attributes:
        offline_meta: of the checkpoint to continue from, None to begin.
        online_meta: likewise for the online phase.
        source: offline folder to fork from, None to train offline.
        dataset: on the host, None where the run does not open it.
        preprocessing: fitted to it.
        table_lengths: bytes of both tables to keep.
        first_event: step from which TensorBoard forgets an earlier process's events.
    """

    offline_meta: dict | None = None
    online_meta: dict | None = None
    source: pathlib.Path | None = None
    dataset: transitions.Dataset | None = None
    preprocessing: Any = None
    table_lengths: tuple[int, int] = (0, 0)
    first_event: int = 0


def report_failures(run: Run, state: Any, unit: str) -> None:
    """Names the seeds that are no longer finite, each once.

    Args:
        run: The run.
        state: of either phase.
        unit: what the steps of that phase are.
    """
    for index in np.flatnonzero(~np.asarray(state.alive)):
        if index in run.failed:
            continue
        run.failed.add(int(index))
        logs.LOGGER.error(
            "Seed %s became non-finite at %s %d. It is frozen at its last finite "
            "state; the other seeds go on.",
            run.experiment.name(index),
            unit,
            int(state.failed_step[index]),
        )


def describe(run: Run, about: dict[str, Any]) -> tuple[dict, dict[str, bytes]]:
    """The description of a checkpoint, and the files that are kept with it.

    Everything that was written so far is on the disk afterward, because the
    checkpoint relies on it.

    Args:
        run: The run.
        about: what only its phase knows.
    """
    lengths = run.writer.lengths()
    recorded, files = run_tables.record(run.workdir, lengths)
    settings, record = run.experiment.settings, run.experiment.record
    meta = {
        **about,
        "seeds": list(range(settings.seed, settings.seed + settings.num_seeds)),
        "config": record,
        "data_source": run.data_source,
        "table_lengths": lengths,
        "tables": recorded,
    }
    if run.data_fingerprint is not None:
        meta["data_fingerprint"] = run.data_fingerprint
    files[saved_configs.CONFIG_COPY] = durable.json_bytes(record)
    return meta, files


def check_seeds(run: Run, state: Any, store: checkpoints.Store) -> None:
    """Refuses arrays of other seeds than those of the run."""
    found = [int(seed) for seed in np.asarray(state.seeds)]
    wanted = [int(seed) for seed in run.experiment.seeds]
    if found != wanted:
        raise checks.UserError(
            f"The checkpoint in {store.directory} holds the seeds {found}; this run "
            f"has {wanted}. It was copied here from another run. Move it back there, "
            "or set config.seed and config.num_seeds as in its run."
        )


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps a second process out of the workdir, inside the block.

    The lock goes with the process, however it ends.

    Raises:
        checks.UserError: another process is at work there.
    """
    with durable.writing(workdir):
        try:
            lock = filelock.FileLock(workdir / ".lock").acquire(blocking=False)
        except filelock.Timeout as error:
            raise checks.UserError(
                f"Another process is running in the workdir {str(workdir)!r}; one at a "
                "time is allowed. Wait for it, stop it, or give workdir=FOLDER."
            ) from error
    with lock:
        yield
