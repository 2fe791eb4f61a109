"""The tables of a run, read so that damage is named."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, get_type_hints

import pandas as pd

from samg_jax import checks
from samg_jax.runs import run_output


class Row(NamedTuple):
    """One row of `metrics.csv`; see `runs.run_output`.

    Attributes:
        sweep: The combination of swept values, empty without a sweep.
    """

    phase: str
    seed: int
    offline_step: int
    env_step: int
    return_mean: float
    return_std: float
    normalized_score: float
    episode_length: float
    failed: int
    sweep: str = ""


KINDS = {**get_type_hints(Row), "name": str, "value": float}


def evaluations(path: pathlib.Path) -> pd.DataFrame:
    """The rows of `metrics.csv`, with the columns of `Row`.

    Raises:
        checks.UserError: The file is missing or damaged.
    """
    return read(path, run_output.EVALUATION_COLUMNS)[list(Row._fields)]


def rows(path: pathlib.Path) -> list[Row]:
    """`evaluations` as a list."""
    return list(map(Row._make, evaluations(path).itertuples(index=False)))


def logged(path: pathlib.Path) -> pd.DataFrame:
    """The rows of `training.csv`, with a column `sweep`; raises as `evaluations`."""
    return read(path, run_output.TRAINING_COLUMNS)


def read(path: pathlib.Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of a CSV file, typed, with a column `sweep`.

    Args:
        path: The file.
        columns: The columns that it must have; it may have more.

    Raises:
        checks.UserError: The file is missing, is no table, or a row is not whole.
    """
    try:
        # Pandas fills rows that are cut; so they are looked for before.
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            missing = sorted(set(columns) - set(header))
            if missing:
                raise damaged(path, f"it has no column {', '.join(missing)}")
            for row in reader:
                if row and len(row) != len(header):
                    raise damaged(path, f"line {reader.line_num} is not whole")
        table = pd.read_csv(
            path,
            dtype={name: KINDS[name] for name in header if name in KINDS},
            na_values={name: ["nan"] for name in KINDS if KINDS[name] is float},
            keep_default_na=False,
            float_precision="round_trip",
        )
        if run_output.SWEEP_COLUMN not in table:
            table[run_output.SWEEP_COLUMN] = ""
        return table
    except OSError as error:
        raise damaged(path, error.strerror) from error
    except (csv.Error, ValueError) as error:  # The latter includes broken Unicode.
        if isinstance(error, checks.UserError):
            raise
        raise damaged(path, str(error)) from error


def damaged(path: pathlib.Path, reason: str) -> checks.UserError:
    """The error that names a table of a run, what is wrong, and the remedy."""
    return checks.UserError(
        f"{path} cannot be read: {reason}. It must be as the run wrote it. Restore the "
        "file, or give the run's own command again, which says what can be mended."
    )
