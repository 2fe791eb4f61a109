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

import pandas as pd

from samg_jax.suites import files, folders
from samg_jax.suites.jobs import OFFLINE, Job

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
# Of `machine.describe`, what is not a version.
NOT_VERSIONS = ("processor", "devices", "commit")
# Column -> name in `training.csv`.
LOGGED = {"success": "success_rate", "regret": "regret"}


class Table:
    """The results of a folder; what was read of a complete job is kept."""

    def __init__(self, out: pathlib.Path):
        self._out = out
        self._rows: dict[tuple[str, float], pd.DataFrame] = {}

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
            files.replace(self._out / "results.parquet", parquet.getvalue())
            text = table.to_csv(index=False, lineterminator="\n")
            files.replace(self._out / "results.csv", text.encode())
            if self._complete() == complete:
                return table

    def _complete(self) -> dict[tuple[str, float], Job]:
        """Returns the complete jobs, by name and time of their end."""
        result = {}
        for job in folders.all_jobs(self._out):
            run = folders.finished_run(folders.of(self._out, job.name))
            if run.exists():
                result[job.name, (run / folders.DONE).stat().st_mtime] = job
        return result

    def _gather(self, jobs: dict[tuple[str, float], Job]) -> pd.DataFrame:
        """Returns the rows of complete jobs, sorted."""
        for key, job in jobs.items():
            if key not in self._rows:
                self._rows[key] = read(folders.of(self._out, job.name), job)
        if not jobs:
            return pd.DataFrame(columns=list(COLUMNS))
        table = pd.concat([self._rows[key] for key in jobs], ignore_index=True)
        return table.sort_values(ORDER, ignore_index=True)


def read(folder: pathlib.Path, job: Job) -> pd.DataFrame:
    """Returns the rows of a job that is complete."""
    facts = folders.done(folder)
    run = folders.finished_run(folder)
    rows = pd.read_csv(run / "metrics.csv")
    places = ["phase", "seed", "offline_step", "env_step"]
    variant = job.variant
    if "sweep" in rows:
        places.append("sweep")
        variant = variant + " " + rows["sweep"]
    logged = pd.read_csv(run / "training.csv")
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


def kind_of(data_source: str) -> str:
    """Returns what kind of data these are: `D4RL`, `locally collected`, ...

    Args:
        data_source: as the trainer describes them, such as `hopper-demo (100,000 rows,
            locally collected, not D4RL)`.
    """
    kind = re.search(r"\([\d,]+ rows, (.*)\)$", data_source)[1]
    return kind.removesuffix(", not D4RL")
