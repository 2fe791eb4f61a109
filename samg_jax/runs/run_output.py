"""What a run writes while it trains: two tables, TensorBoard events, a log.

`metrics.csv` has one row per seed and evaluation, `training.csv` one per seed and
logged quantity. Both hold nothing that differs between two runs of the same config
(no wall-clock times), so that a resumed run can be compared with one that never
stopped; times are in `log.txt` and TensorBoard.
"""

from __future__ import annotations

import csv
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from samg_jax import checks, durable
from samg_jax.runs import event_files, explosions, wandb_events

EVALUATION_COLUMNS = (
    "phase",
    "seed",
    "offline_step",
    "env_step",
    "return_mean",
    "return_std",
    "normalized_score",
    "episode_length",
    "failed",
)
TRAINING_COLUMNS = ("phase", "seed", "offline_step", "env_step", "name", "value")
# After the seed in both tables of a sweep; empty in the offline phase, which is shared.
SWEEP_COLUMN = "sweep"


class Table:
    """A CSV file that grows by rows and can go back to an earlier length."""

    def __init__(self, path: pathlib.Path, columns: tuple[str, ...], length: int):
        """Opens the table and cuts off whatever lies behind `length` bytes.

        Args:
            path: of the file, created where missing.
            columns: of every row; a row with others is refused.
            length: bytes to keep, from `tell` at the time of a checkpoint; 0 to begin.
        """
        self._columns = columns
        self._folder = path.absolute().parent
        with durable.writing(self._folder):
            self._file = path.open("a+", newline="")
        if length > path.stat().st_size:
            raise checks.UserError(
                f"{path} has {path.stat().st_size} bytes, but the checkpoint was saved "
                f"when it had {length}. It was shortened or replaced since. Restore "
                "the file, or restart and set workdir=FOLDER."
            )
        _check_header(path, columns, length)
        with durable.writing(self._folder):
            self._file.truncate(length)
            self._file.seek(length)  # `tell` would go on to return the old length.
            self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")
            if length == 0:
                self._writer.writeheader()
            durable.sync_folder(self._folder)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row; its names must be the columns."""
        if set(row) != set(self._columns):
            raise checks.UserError(
                f"A row has {sorted(row)}; the table has {sorted(self._columns)}. "
                "Every row needs exactly the columns of its table."
            )
        with durable.writing(self._folder):
            self._writer.writerow(row)

    def tell(self) -> int:
        """The length in bytes, everything written out."""
        with durable.writing(self._folder):
            self._file.flush()
        return self._file.tell()

    def flush_to_disk(self) -> int:
        """The length in bytes, all of them safe from a power cut."""
        length = self.tell()
        with durable.writing(self._folder):
            os.fsync(self._file.fileno())
        return length

    def close(self) -> None:
        with durable.writing(self._folder):
            self._file.close()


def _check_header(path: pathlib.Path, columns: tuple[str, ...], length: int) -> None:
    """Refuses a file that is no table of these columns, before any of it is cut.

    If some of it is kept, its line ends must be those of the table, too.
    """
    with path.open("rb") as file:
        found = file.readline(4_096)
    line = found.decode("utf-8-sig", "replace").strip("\0\r\n")
    header = ",".join(columns)
    begun = not found.endswith(b"\n") and header.startswith(line)
    if found == f"{header}\n".encode() or (length == 0 and (begun or line == header)):
        return
    raise checks.UserError(
        f"{path} begins with {found[:60]!r}, which is not the header of this run's "
        f"table: {header}. It was edited, or another program wrote it. Restore the "
        "header, rename the file, or give another workdir=FOLDER."
    )


class Writer:
    """Everything a run writes down; see the module.

    Attributes:
        replicas: `[S]` pairs of a seed and the label of its combination in a sweep,
            empty without one. They change once, when fine-tuning begins.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        seeds: np.ndarray,
        lengths: tuple[int, int] = (0, 0),
        tensorboard: bool = True,
        first_event: int = 0,
        sweep: bool = False,
        wandb: wandb_events.Events | None = None,
    ):
        self.replicas = [(int(seed), "") for seed in seeds]
        self._sweep = sweep
        self._watch = explosions.Watch()

        def table(name, columns, length):
            if sweep:
                columns = (*columns[:2], SWEEP_COLUMN, *columns[2:])
            return Table(workdir / name, columns, length)

        self._evaluations = table("metrics.csv", EVALUATION_COLUMNS, lengths[0])
        self._training = table("training.csv", TRAINING_COLUMNS, lengths[1])
        self._events = event_files.Events(workdir, tensorboard, first_event, wandb)

    def evaluation(
        self, phase: str, steps: tuple[int, int], scores: Any, alive: np.ndarray
    ) -> None:
        """Writes the result of an evaluation.

        Args:
            phase: `offline` or `online`.
            steps: offline updates and environment steps so far.
            scores: `evaluation.Scores`.
            alive: `[S]`.
        """
        for index, replica in enumerate(self.replicas):
            returns = scores.returns[index]
            row = {
                "return_mean": float(returns.mean()),
                "return_std": float(returns.std()),
                "normalized_score": float(scores.normalized[index]),
                "episode_length": float(scores.lengths[index]),
                "failed": int(not alive[index]),
            }
            self._events_of(phase, replica, row, steps)
            self._evaluations.write({**self._where(phase, replica, steps), **row})
        self._evaluations.tell()

    def training(
        self, phase: str, steps: tuple[int, int], metrics: Mapping[str, np.ndarray]
    ) -> None:
        """Writes metric -> `[S]`."""
        names = [
            f"{seed} ({label})" if label else str(seed) for seed, label in self.replicas
        ]
        self._watch.look(phase, steps, metrics, names)
        for index, replica in enumerate(self.replicas):
            values = {name: float(metrics[name][index]) for name in sorted(metrics)}
            self._events_of(phase, replica, values, steps)
            for name, value in values.items():
                where = self._where(phase, replica, steps)
                self._training.write({**where, "name": name, "value": value})

    def rate(self, phase: str, steps: tuple[int, int], per_second: float) -> None:
        """Writes a speed, to no table: it is not reproducible."""
        rate = {f"{phase}/per_second": per_second}
        self._events.add_scalars(rate, sum(steps))

    def lengths(self) -> tuple[int, int]:
        """The lengths of both tables on the disk, to be saved with a checkpoint."""
        return self._evaluations.flush_to_disk(), self._training.flush_to_disk()

    def close(self) -> None:
        self._events.close()
        self._evaluations.close()
        self._training.close()

    def _where(self, phase, replica, steps):
        seed, label = replica
        where = {"phase": phase, "seed": seed}
        if self._sweep:
            where[SWEEP_COLUMN] = label
        return {**where, "offline_step": steps[0], "env_step": steps[1]}

    def _events_of(self, phase, replica, values, steps):
        seed, label = replica
        # TensorBoard allows few signs in a tag.
        end = f"seed_{seed}" + re.sub(r"[^\w.]", "_", f" {label}" if label else "")
        tags = {f"{phase}/{name}/{end}": value for name, value in values.items()}
        self._events.add_scalars(tags, sum(steps))
