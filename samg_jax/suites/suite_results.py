"""The results of a suite as data: the tidy table, as Parquet and as CSV.

It is written anew, from the files of the complete jobs, when a job has ended.
`results.tidy_table` explains the columns. If a job was continued on another machine,
its rows name the last one.
"""

from __future__ import annotations

import io
import pathlib

import pandas as pd

from samg_jax import checks, durable
from samg_jax.results import seed_statistics, tidy_table
from samg_jax.suites import job_folders
from samg_jax.suites.job_list import Job

ORDER = ["dataset", "algorithm", "phase", "variant", "seed", "step"]
# Of `provenance.describe`, what is not a version.
NOT_VERSIONS = ("processor", "devices", "commit")


class Table:
    """The results of a folder; what was read of a complete job is kept."""

    def __init__(self, out: pathlib.Path):
        """Begins with nothing read.

        Args:
            out: The folder of the suite.
        """
        self._out = out
        self._rows: dict[str, pd.DataFrame | None] = {}
        self._told: set[str] = set()

    def update(self) -> pd.DataFrame:
        """Writes both files; the table."""
        for job in job_folders.all_jobs(self._out, self._damaged):
            folder = job_folders.of(self._out, job.name)
            if job.name not in self._rows and job_folders.done(folder) is not None:
                self._rows[job.name] = self._read(folder, job)
        tables = [rows for rows in self._rows.values() if rows is not None]
        table = pd.DataFrame(columns=list(tidy_table.COLUMNS))
        if tables:
            table = pd.concat(tables, ignore_index=True)
            table = table.sort_values(ORDER, ignore_index=True)
        parquet = io.BytesIO()
        table.to_parquet(parquet, index=False)
        durable.write_bytes(self._out / "results.parquet", parquet.getvalue())
        text = table.to_csv(index=False, lineterminator="\n")
        durable.write_text(self._out / "results.csv", text)
        return table

    def _read(self, folder: pathlib.Path, job: Job) -> pd.DataFrame | None:
        """The rows of a job; None, said once, if they cannot be read."""
        try:
            return read(folder, job)
        except checks.UserError as error:
            self._tell(f"WARNING: {error}")
            return None

    def _damaged(self, path: pathlib.Path) -> None:
        self._tell(
            f"WARNING: {path} is damaged, so its job is not among the results. The "
            "command of its suite writes it again."
        )

    def _tell(self, text: str) -> None:
        """Says something once."""
        if text not in self._told:
            self._told.add(text)
            print(text, flush=True)


def read(folder: pathlib.Path, job: Job) -> pd.DataFrame:
    """Returns the rows of a job that is complete.

    Raises:
        checks.UserError: a table of its run is missing or damaged.
    """
    facts = job_folders.done(folder)
    run = folder / job_folders.COMPLETE
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
            f"{error} The results are without its job. Run the suite's command again: "
            "it takes the table from the job's checkpoint."
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
