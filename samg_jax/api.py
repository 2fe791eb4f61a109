"""The package from Python: a config, a run, and what came of it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import pandas as pd

from samg_jax import checks, compilation
from samg_jax.experiment import command_line, misspelled
from samg_jax.results import run_files, run_summary
from samg_jax.runs import lifecycle


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run; printed, it is the closing table.

    Attributes:
        workdir: where tables, checkpoints and the log are.
        scores: one row per seed and evaluation, as in `metrics.csv`.
        normalized: whether the task has reference scores.
    """

    workdir: pathlib.Path
    scores: Sequence[run_files.Row]
    normalized: bool

    def __str__(self) -> str:
        return run_summary.closing_tables(pd.DataFrame(self.scores))


def get_config(
    name: str, dataset: str | None = None, **fields: Any
) -> ml_collections.ConfigDict:
    """The config of a name and dataset, as after `--config=` of the programs.

        config = api.get_config("awac_samg", "hopper-demo", num_seeds=4)
        config.online.steps = 5_000

    Args:
        name: `awac_samg` for one of the package's, or the path of a file.
        dataset: such as `hopper-medium`; by default the file's own.
        **fields: new values; fields of a group are set on the result, which is locked:
            a misspelled name is an error.

    Raises:
        checks.UserError: there is no such config, dataset or field.
    """
    config = command_line.load(name, *([dataset] if dataset else []))
    for field, value in fields.items():
        misspelled.check_field(field, config.to_dict())
        try:
            config[field] = value
        except TypeError as error:
            raise checks.UserError(
                f"config.{field} is set to {value!r}: {error}. It is "
                f"{config[field]!r} by default. Set a value of that kind."
            ) from error
    return config


def train(
    config: ml_collections.ConfigDict, workdir: str | os.PathLike[str] | None = None
) -> Result:
    """Runs an experiment, or what is left of it, as `samg_jax.train` does.

        result = api.train(api.get_config("awac_samg", "hopper-demo"), "runs/mine")
        print(result)

    Args:
        config: The config from `get_config`; it stays as it is.
        workdir: the folder of the run; by default one under `runs/`. A run that was
            stopped there goes on.

    Raises:
        checks.UserError: config, data, environment or workdir cannot be used.
    """
    chosen = workdir or lifecycle.default_workdir(config.to_dict())
    folder = pathlib.Path(chosen).expanduser()
    compilation.use_cache(config.compilation_cache)
    run = lifecycle.run(config, folder, evaluated=run_summary.redraw)
    return Result(
        workdir=folder,
        scores=run_files.rows(folder / "metrics.csv"),
        normalized=run.experiment.task.ref_min is not None,
    )
