"""The program `samg_jax.suite`: from what is asked for to the exit status."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import ml_collections

from samg_jax import checks, durable
from samg_jax.envs import instances
from samg_jax.experiment import (
    setting_values,
    suite_files,
    unread_fields,
)
from samg_jax.suites import executors, job_folders, job_list, suite_plan
from samg_jax.suites.job_folders import Status
from samg_jax.suites.job_list import Job

NEEDED = ("pyarrow",)


def run(
    suite: ml_collections.ConfigDict,
    out: str,
    configs: pathlib.Path,
    *,
    executor: str = "local",
    options: Sequence[str] = (),
    processes: int | None = None,
    retries: int = 1,
    dry_run: bool = False,
) -> int:
    """Runs a suite, or what is left of it; the result is the exit status.

    Args:
        suite: The suite, from `suite_files.load`.
        out: The folder of its jobs and results.
        configs: The folder of the config files.
        executor: One of `executors.KINDS`.
        options: Options of the executor.
        processes: Jobs at once on this machine; None: one.
        retries: How often a job is started again whose process was killed.
        dry_run: Whether to say only what would be done.

    Raises:
        checks.UserError: before any compute, if suite, folder or executor cannot be
            used.
    """
    planned = job_list.expand(suite, configs)
    folder = pathlib.Path(out).expanduser()
    checks.can_write(folder, "out=FOLDER")
    job_folders.check(folder, planned)
    for line in idle(suite, planned):
        print(f"warning: {checks.with_flags(line)}", file=sys.stderr)
    estimator = suite_plan.Estimator()
    if dry_run:
        print(suite_plan.describe(folder, planned, estimator))
        return 0
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise checks.UserError(
                f"The results of a suite need the package {name}, which is not "
                'installed. Install the extra: pip install -e ".[suite]".'
            )
    made = executors.make(executor, options, processes)
    checks.folder(folder, "out=FOLDER")
    with job_folders.locked(folder):
        with durable.writing(folder):
            job_folders.prepare(folder, planned)
        left = [job for job in planned if not job_folders.is_done(folder, job.name)]
        print(f"{len(planned)} jobs, {len(planned) - len(left)} complete before.")
        instances.close_all()  # The processes of the jobs build their own.
        report, memory = Report(folder, left), lambda job: estimator.memory(job)[1]
        paths = [os.getcwd()]
        made.run(executors.Work(folder, left, retries, paths, memory, report.ended))
        return report.close(planned)


def idle(suite: ml_collections.ConfigDict, planned: Sequence[Job]) -> list[str]:
    """At most one line, on fields that the suite sets and none of its jobs reads."""
    rows = [suite.overrides, suite.get(suite_files.GIVEN, ())]
    rows += [*suite.by_algorithm.values(), *suite.by_variant.values()]
    names = dict.fromkeys(text.split("=")[0] for row in rows for text in row)
    configs: list[dict[str, Any]] = [
        setting_values.flatten(job.experiment().to_dict()) for job in planned
    ]
    found = []
    for name in names:
        fields = [config for config in configs if name in config]
        reasons = {unread_fields.of_fields(name, config) for config in fields}
        if reasons and "" not in reasons:
            found.append(f"config.{name} ({'; '.join(sorted(reasons))})")
    if not found:
        return []
    return [f"The suite sets what none of its jobs reads: {', '.join(found)}."]


class Report:
    """Tells how jobs end, and keeps the table of results up to date."""

    def __init__(self, out: pathlib.Path, jobs: Sequence[Job]):
        """Begins to measure time.

        Args:
            out: The folder of the suite.
            jobs: The jobs that are not complete.
        """
        self._out, self._total = out, len(jobs)
        self._left = {job.name: suite_plan.size(job) for job in jobs}
        self._worked, self._began = 0, time.monotonic()
        # Its libraries come with an extra.
        self._results = importlib.import_module("samg_jax.suites.suite_results")
        self._table = self._results.Table(out)

    def ended(self, job: Job, status: Status) -> None:
        """Receives a job that has ended."""
        folder = job_folders.of(self._out, job.name)
        worked, facts = self._left.pop(job.name), job_folders.done(folder)
        if facts is not None:
            self._worked += worked
            self._update()
            words = f"done in {facts['wall_time']:,.0f} s{self._scores(folder, job)}"
        else:
            if status is Status.WAITING:
                error = f"Not begun: its source {job.source} is not complete."
                job_folders.record_failure(folder, error)
            words = f"FAILED: {job_folders.failure(folder)}"
        count = self._total - len(self._left)
        print(f"[{count}/{self._total}] {job.name}: {words}", flush=True)
        if self._left:
            print(f"    {self._progress()}", flush=True)

    def _scores(self, folder: pathlib.Path, job: Job) -> str:
        """The scores of a complete job; nothing if its tables are damaged."""
        try:
            return f", {self._results.scores(self._results.read(folder, job))}"
        except checks.UserError:
            return ""  # The table of results has warned of it.

    def _progress(self) -> str:
        """The time taken, and the time left if the jobs go on at the same speed."""
        taken = time.monotonic() - self._began
        count = len(self._left)
        jobs = "1 job" if count == 1 else f"{count} jobs"
        text = f"{suite_plan.duration(taken)} taken, {jobs} left"
        if self._worked:
            left = taken * sum(self._left.values()) / self._worked
            text += f", about {suite_plan.duration(left)}"
        return text

    def _update(self):
        """Writes the table of results; the rows."""
        with durable.writing(self._out):
            return self._table.update()

    def close(self, planned: Sequence[Job]) -> int:
        """Says where results are and what failed; the result is the exit status."""
        table = self._update()
        taken = suite_plan.duration(time.monotonic() - self._began)
        print(f"results: {self._out / 'results.parquet'}, {len(table):,} rows; {taken}")
        names = [job.name for job in planned]
        failed = [name for name in names if not job_folders.is_done(self._out, name)]
        if failed:
            print(
                f"{len(failed)} of {len(planned)} jobs failed; their errors are in "
                f"failed.json below {self._out / job_folders.JOBS}, and the same "
                "command tries them again:"
            )
            print("\n".join(f"  {name}" for name in failed))
        return 1 if failed else 0
