r"""The report of a suite, or of finished runs.

    python -m samg_jax.report runs/suite --out=report/
    python -m samg_jax.report runs/suite --out=report/ --watch
    python -m samg_jax.report runs/vanilla runs/samg --out=report/

The folder of a suite, and the workdirs of runs, become a page with pictures and tables,
and one table of all results, `results.csv`. With `--watch` the page follows a suite
while it runs.
"""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Sequence

from absl import flags

from samg_jax import checks, durable, lazy, logs, startup
from samg_jax.experiment import command_line
from samg_jax.runs import signals

report_page = lazy.module("samg_jax.results.report_page")
run_setups = lazy.module("samg_jax.results.run_setups")
suite_results = lazy.module("samg_jax.suites.suite_results")
tidy_table = lazy.module("samg_jax.results.tidy_table")

OUT = flags.DEFINE_string(
    "out",
    None,
    "Folder of the report, by default report/ in the folder that is reported; report/ "
    "if there are several.",
)
REPS = command_line.define_integer(
    "reps", 2_000, "Resamples of every bootstrap.", least=10
)
WATCH = flags.DEFINE_bool(
    "watch", False, "Update the report when the results change. For a suite only."
)
EVERY = flags.DEFINE_float(
    "every", 10.0, "Seconds between two checks with --watch.", lower_bound=0.1
)
WATCH_SECONDS = flags.DEFINE_float(
    "watch_seconds", None, "Seconds until --watch ends; by default only Ctrl-C ends it."
)

# What the report needs beside the package, all in the extra.
NEEDED = ("arch", "jinja2", "pyarrow", "rliable")


def main(argv: list[str]) -> None:
    """Reports the suites and runs whose folders are the arguments."""
    logs.quiet_libraries()
    folders = [pathlib.Path(name).expanduser() for name in argv[1:]]
    # Ctrl-C is how --watch ends.
    with checks.program() if WATCH.value else signals.program():
        check(folders)
        startup.begin()
        out = pathlib.Path(OUT.value or default_out(folders)).expanduser()
        if WATCH.value:
            given = REPS.value, EVERY.value, WATCH_SECONDS.value
            report_page.watch(folders[0], out, *given)
            return
        for folder in folders:
            restore(folder)
        print(f"report: {report_page.write(folders, out, REPS.value)}")


def default_out(folders: Sequence[pathlib.Path]) -> pathlib.Path:
    """The folder of the report if none is named."""
    return folders[0] / "report" if len(folders) == 1 else pathlib.Path("report")


def check(folders: Sequence[pathlib.Path]) -> None:
    """Refuses what cannot be reported, before anything slow is imported."""
    if not folders:
        raise checks.UserError(
            "No results were named; at least one folder is needed. Name the out folder "
            "of a suite or workdirs of runs, as in python -m samg_jax.report runs/*."
        )
    if WATCH.value and len(folders) > 1:
        raise checks.UserError(
            f"{len(folders)} folders were named with --watch; it follows the results of"
            " one suite. Name its folder, as in python -m samg_jax.report runs/suite "
            "--watch."
        )
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise checks.UserError(
            f"The report needs {', '.join(missing)}, not installed here. "
            'Run: pip install -e ".[report]"'
        )


def restore(folder: pathlib.Path) -> None:
    """Writes a suite's table anew from its jobs, if it is missing or damaged.

    Raises:
        checks.UserError: No job of it is complete.
    """
    if not (folder / run_setups.JOBS).is_dir():
        return
    try:
        tidy_table.read(folder)
    except checks.UserError:
        with durable.writing(folder, advice=durable.AGAIN):
            rows = suite_results.Table(folder).update()
        if rows.empty:
            raise checks.UserError(
                f"No job of the suite in {str(folder)!r} is complete yet, so there is "
                "nothing to report. The suite's command continues where it stopped; "
                "--watch waits for the first results."
            ) from None
        print(f"The table of {folder} has been rebuilt from its complete jobs.")


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main, positional=True)


if __name__ == "__main__":
    run()
