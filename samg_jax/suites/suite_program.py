"""The command `suite` of `samg_jax.benchmark`: from its flags to its exit status."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections

from samg_jax import checks, durable
from samg_jax.envs import instances
from samg_jax.experiment import config_checks, unread_fields
from samg_jax.suites import (
    definition,
    executors,
    job_folders,
    job_list,
    job_runner,
    repair,
    suite_plan,
)
from samg_jax.suites.job_list import Job
from samg_jax.suites.job_runner import Status

NEEDED = ("pyarrow",)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        suite: name or file.
        out: folder of jobs and results.
        configs: folder of the config files.
        settings: fields of the suite, as `definition.load` takes them.
        executor: name of one of `executors.KINDS`.
        options: of the executor.
        retries: how often a job is started again whose process was killed.
        dry_run: only say what would be done.
    """

    suite: str | None
    out: str | None
    configs: pathlib.Path
    settings: Sequence[str] = ()
    executor: str = "local"
    options: Sequence[str] = ()
    retries: int = 1
    dry_run: bool = False


def run(request: Request) -> int:
    """Runs a suite, or what is left of it; returns the exit status.

    Raises:
        checks.UserError: before any compute, where suite, folder or executor cannot be
            used.
    """
    out, planned = prepare(request)
    estimator = suite_plan.Estimator()
    if request.dry_run:
        print(suite_plan.describe(out, planned, estimator))
        return 0
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise checks.UserError(
                f"The results of a suite need the package {name}, which is not "
                'installed. Install the extra: pip install -e ".[suite]".'
            )
    executor = executors.make(request.executor, request.options)
    checks.folder(out, "out=FOLDER")
    with durable.writing(out):
        repair.prepare(out, planned)
    left = [job for job in planned if job_runner.status(out, job) is not Status.DONE]
    print(f"{len(planned)} jobs, {len(planned) - len(left)} complete before.")
    instances.close_all()  # The processes of the jobs build their own.
    report = Report(out, left)
    executor.run(work(request, out, left, estimator, report.ended))
    return report.close(planned)


def work(
    request: Request,
    out: pathlib.Path,
    left: Sequence[Job],
    estimator: suite_plan.Estimator,
    ended: Callable[[Job, Status], None],
) -> executors.Work:
    """Returns what the executor is given.

    Args:
        request: from the flags.
        out: folder of the suite.
        left: jobs that are not complete.
        estimator: of their memory.
        ended: is called when a job has ended.
    """
    return executors.Work(
        out=out,
        jobs=left,
        retries=request.retries,
        paths=[os.getcwd()],
        memory=lambda job: estimator.memory(job)[1],
        ended=ended,
    )


def prepare(request: Request) -> tuple[pathlib.Path, list[Job]]:
    """Returns the folder of the suite and its jobs, checked."""
    definition.check_given(request.suite, request.out, request.configs)
    suite = definition.load(request.suite, request.configs, request.settings)
    planned = job_list.expand(suite, request.configs)
    out = pathlib.Path(request.out).expanduser()
    checks.can_write(out, "out=FOLDER")
    job_folders.check(out, planned)
    for line in idle(suite, planned):
        print(f"warning: {checks.with_flags(line)}", file=sys.stderr)
    return out, planned


def idle(suite: ml_collections.ConfigDict, planned: Sequence[Job]) -> list[str]:
    """Returns one line about fields that the suite sets and none of its jobs reads."""
    rows = [suite.overrides, suite.get(definition.GIVEN, ())]
    rows += [*suite.by_algorithm.values(), *suite.by_variant.values()]
    names = dict.fromkeys(text.split("=")[0] for row in rows for text in row)
    configs = [job.experiment() for job in planned]
    found = []
    for name in names:
        fields = [flat for flat in map(_fields, configs) if name in flat]
        reasons = {unread_fields.of_fields(name, flat) for flat in fields}
        if reasons and "" not in reasons:
            found.append(f"config.{name} ({'; '.join(sorted(reasons))})")
    if not found:
        return []
    return [f"The suite sets what none of its jobs reads: {', '.join(found)}."]


def _fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    return config_checks.flatten(config.to_dict())


class Report:
    """Tells how jobs end, and keeps the table of results up to date."""

    def __init__(self, out: pathlib.Path, jobs: Sequence[Job]):
        """Begins to measure time.

        Args:
            out: The folder of the suite.
            jobs: Those that are not complete.
        """
        self._out, self._total, self._count = out, len(jobs), 0
        self._left = {job.name: suite_plan.size(job) for job in jobs}
        self._worked, self._began = 0, time.monotonic()
        # Its libraries come with an extra.
        self._results = importlib.import_module("samg_jax.suites.suite_results")
        self._table = self._results.Table(out)

    def ended(self, job: Job, status: Status) -> None:
        """Receives a job that has ended."""
        self._count += 1
        if status is Status.WAITING:
            with durable.writing(self._out):
                job_runner.record_blocked(self._out, job)
        folder, worked = (
            job_folders.of(self._out, job.name),
            self._left.pop(job.name, 0),
        )
        facts = job_folders.done(folder)
        # Perhaps by another process, after this one's has failed.
        if job_folders.sound(facts):
            self._worked += worked
            self._update()
            words = f"done in {facts['wall_time']:,.0f} s{self._scores(folder, job)}"
        else:
            words = f"FAILED: {job_folders.failure(folder)}"
        print(f"[{self._count}/{self._total}] {job.name}: {words}", flush=True)
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
        """Says where results are and what failed; returns the exit status."""
        table = self._update()
        taken = suite_plan.duration(time.monotonic() - self._began)
        print(f"results: {self._out / 'results.parquet'}, {len(table):,} rows; {taken}")
        failed = [
            job
            for job in planned
            if job_runner.status(self._out, job) is not Status.DONE
        ]
        if failed:
            print(
                f"{len(failed)} of {len(planned)} jobs failed; their errors are in "
                f"failed.json below {self._out / job_folders.JOBS}, and the same "
                "command tries them again:"
            )
            for job in failed:
                print(f"  {job.name}")
        return 1 if failed else 0
