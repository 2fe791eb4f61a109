"""The results of a suite as data: one tidy table, as Parquet and as CSV.

It is made anew, from the files of the complete jobs, whenever a job has ended. One row
per evaluation of a seed:

    algorithm, variant, dataset   as the job's; the offline phase is variant `offline`,
                                  a swept value stands behind the variant
    data_source                   `D4RL`, `locally collected`, ...
    seed, phase, step             updates of the offline phase, environment steps online
    return, normalized_score      of the evaluation episodes; NaN without a reference
    success                       share of them that reached the goal; sparse tasks only
    regret                        share of failures among training episodes so far
    wall_time                     seconds of the whole job, compilation included
    peak_memory                   bytes of the job, of the device where it counts them
    physics, processor, devices,  what it was measured with; where a job was continued
    versions, git_commit          on another machine, with the last one
    failed                        1 from where the seed became non-finite
"""

from __future__ import annotations

import io
import pathlib
import re
from collections.abc import Sequence

import pandas as pd

from samg_jax import checks, shared_files
from samg_jax.results import seed_statistics
from samg_jax.runs import run_output
from samg_jax.suites import job_folders
from samg_jax.suites.job_list import OFFLINE, Job

COLUMNS = (
    "algorithm",
    "variant",
    "dataset",
    "data_source",
    "seed",
    "phase",
    "step",
    "return",
    "normalized_score",
    "success",
    "regret",
    "wall_time",
    "peak_memory",
    "physics",
    "processor",
    "devices",
    "versions",
    "git_commit",
    "failed",
)
ORDER = ["dataset", "algorithm", "phase", "variant", "seed", "step"]
# Of `provenance.describe`, what is not a version.
NOT_VERSIONS = ("processor", "devices", "commit")
WORDS = ("phase", "name")  # Columns of a run's tables; a sweep's are words too.
# Column -> name in `training.csv`.
LOGGED = {"success": "success_rate", "regret": "regret"}


class Table:
    """The results of a folder; what was read of a complete job is kept."""

    def __init__(self, out: pathlib.Path):
        self._out = out
        self._rows: dict[tuple[str, float], pd.DataFrame | None] = {}
        self._told: set[str] = set()

    def update(self) -> pd.DataFrame:
        """Writes both files and returns the table.

        Where two processes write at once, the later may have read earlier: each looks
        again, after it wrote, whether it knew of all complete jobs.
        """
        while True:
            complete = self._complete()
            table = self._gather(complete)
            parquet = io.BytesIO()
            table.to_parquet(parquet, index=False)
            shared_files.replace(self._out / "results.parquet", parquet.getvalue())
            text = table.to_csv(index=False, lineterminator="\n")
            shared_files.replace(self._out / "results.csv", text.encode())
            if self._complete() == complete:
                return table

    def _complete(self) -> dict[tuple[str, float], Job]:
        """Returns the complete jobs, by name and time of their end."""
        result = {}
        for job in job_folders.all_jobs(self._out, self._damaged):
            folder = job_folders.of(self._out, job.name)
            if job_folders.sound(job_folders.done(folder)):
                path = job_folders.finished_run(folder) / job_folders.DONE
                result[job.name, path.stat().st_mtime] = job
        return result

    def _read(self, job: Job) -> pd.DataFrame | None:
        """Returns the rows of a job; None, said once, where they cannot be read."""
        try:
            return read(job_folders.of(self._out, job.name), job)
        except checks.UserError as error:
            self._tell(f"WARNING: {error}")
            return None

    def _damaged(self, path: pathlib.Path) -> None:
        self._tell(
            f"WARNING: {path} is damaged, so its job is not among the results. The "
            "command of its suite writes it anew."
        )

    def _tell(self, text: str) -> None:
        """Says something once."""
        if text not in self._told:
            self._told.add(text)
            print(text, flush=True)

    def _gather(self, jobs: dict[tuple[str, float], Job]) -> pd.DataFrame:
        """Returns the rows of complete jobs, sorted."""
        for key, job in jobs.items():
            if key not in self._rows:
                self._rows[key] = self._read(job)
        tables = [self._rows[key] for key in jobs if self._rows[key] is not None]
        if not tables:
            return pd.DataFrame(columns=list(COLUMNS))
        table = pd.concat(tables, ignore_index=True)
        return table.sort_values(ORDER, ignore_index=True)


def read(folder: pathlib.Path, job: Job) -> pd.DataFrame:
    """Returns the rows of a job that is complete.

    Raises:
        checks.UserError: a table of its run is missing or damaged.
    """
    facts = job_folders.done(folder)
    run = job_folders.finished_run(folder)
    rows = _table(run / "metrics.csv", run_output.EVALUATION_COLUMNS)
    places = ["phase", "seed", "offline_step", "env_step"]
    variant = job.variant
    if "sweep" in rows:
        places.append("sweep")
        variant = variant + " " + rows["sweep"]
    logged = _table(run / "training.csv", run_output.TRAINING_COLUMNS)
    for column, name in LOGGED.items():
        values = logged[logged["name"] == name].set_index(places)["value"]
        rows = rows.join(values.rename(column), on=places)
    offline = rows["phase"] == OFFLINE
    about = facts["machine"]
    versions = {k: v for k, v in about.items() if k not in NOT_VERSIONS}
    rows = rows.rename(columns={"return_mean": "return"}).assign(
        algorithm=job.algorithm,
        variant=variant,
        dataset=job.dataset,
        data_source=kind_of(facts["data_source"]),
        step=rows["offline_step"].where(offline, rows["env_step"]),
        wall_time=facts["wall_time"],
        peak_memory=facts["peak_memory"],
        physics=facts["physics"],
        processor=about["processor"],
        devices=about["devices"],
        versions=", ".join(f"{name} {value}" for name, value in versions.items()),
        git_commit=about["commit"],
    )
    return rows[list(COLUMNS)].astype({"success": float, "regret": float})


def scores(rows: pd.DataFrame) -> str:
    """The last scores of a job in words: mean and 95 % interval over its seeds.

    Args:
        rows: of one job, from `read`; of a sweep every value has scores of its own.
    """
    parts = []
    for variant, own in rows.groupby("variant", sort=False):
        last = own.sort_values("step").groupby("seed").tail(1)
        lasting = last[last["failed"] == 0]
        column = "normalized_score"
        if last[column].isna().all():
            column = "return"
        text = f"{column.replace('_', ' ')} "
        text += seed_statistics.interval_text(lasting[column].to_list())
        if len(lasting) < len(last):
            text += f" of {len(lasting)} of {len(last)} seeds that lasted"
        several = rows["variant"].nunique() > 1
        parts.append(f"{variant}: {text}" if several else text)
    return "; ".join(parts)


def _table(path: pathlib.Path, columns: Sequence[str]) -> pd.DataFrame:
    """Returns a table of a run, all of it numbers but for its words."""
    try:
        table = pd.read_csv(path)
        missing = sorted(set(columns) - set(table))
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
        for name in set(columns) - set(WORDS):
            table[name] = pd.to_numeric(table[name])
    except (OSError, ValueError) as error:  # The library's own are of the latter.
        raise checks.UserError(
            f"{path} cannot be read: {error}. The results are without its job. Give "
            "the suite's command again: it takes the table from the job's checkpoint."
        ) from error
    return table


def kind_of(data_source: str) -> str:
    """Returns what kind of data these are: `D4RL`, `locally collected`, ...

    Args:
        data_source: as the trainer describes them, such as `hopper-demo (100,000 rows,
            locally collected, not D4RL)`.
    """
    found = re.search(r"\([\d,]+ rows, (.*)\)$", data_source)
    return found[1].removesuffix(", not D4RL") if found else data_source
