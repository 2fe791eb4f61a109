"""The results of a suite as data: the tidy table, as Parquet and as CSV.

It is written anew, from the files of the complete jobs, when a job has ended.
`results.tidy_table` explains the columns. If a job was continued on another machine,
its rows name the last one.
"""

from __future__ import annotations

import io
import pathlib

import pandas as pd

from samg_jax import checks, shared_files
from samg_jax.results import seed_statistics, tidy_table
from samg_jax.suites import job_folders
from samg_jax.suites.job_list import Job

ORDER = ["dataset", "algorithm", "phase", "variant", "seed", "step"]
# Of `provenance.describe`, what is not a version.
NOT_VERSIONS = ("processor", "devices", "commit")


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
            return pd.DataFrame(columns=list(tidy_table.COLUMNS))
        table = pd.concat(tables, ignore_index=True)
        return table.sort_values(ORDER, ignore_index=True)


def read(folder: pathlib.Path, job: Job) -> pd.DataFrame:
    """Returns the rows of a job that is complete.

    Raises:
        checks.UserError: a table of its run is missing or damaged.
    """
    facts = job_folders.done(folder)
    run = job_folders.finished_run(folder)
    about = facts["machine"]
    versions = {k: v for k, v in about.items() if k not in NOT_VERSIONS}
    try:
        return tidy_table.of_run(
            run,
            algorithm=job.algorithm,
            variant=job.variant,
            dataset=job.dataset,
            data_source=tidy_table.kind_of(facts["data_source"]),
            wall_time=facts["wall_time"],
            peak_memory=facts["peak_memory"],
            physics=facts["physics"],
            processor=about["processor"],
            devices=about["devices"],
            versions=", ".join(f"{name} {value}" for name, value in versions.items()),
            git_commit=about["commit"],
        )
    except checks.UserError as error:
        raise checks.UserError(
            f"{error} The results are without its job. Restore the file, or delete the "
            f"folder {run} and give the suite's command again, which trains the job "
            "anew."
        ) from error


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
