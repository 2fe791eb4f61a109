r"""The report of a suite, or a table of finished runs.

    python -m samg_jax.report runs/suite --out=report/
    python -m samg_jax.report runs/suite --out=report/ --watch
    python -m samg_jax.report runs/vanilla runs/samg --out=table.md
    python -m samg_jax.report runs/bc runs/iql runs/awac --baseline=bc

A folder with a suite's `results.parquet` or `results.csv` becomes a page with pictures
and tables. With `--watch` the page follows the suite while it runs. Workdirs of runs
become a Markdown table with the machine and the versions.
"""

from __future__ import annotations

import importlib.util
import pathlib

from absl import flags

from samg_jax import checks, durable, lazy, logs, startup
from samg_jax.experiment import command_line
from samg_jax.runs import signals

run_comparison = lazy.module("samg_jax.results.run_comparison")
provenance = lazy.module("samg_jax.provenance")
markup = lazy.module("samg_jax.results.markup")
pairing = lazy.module("samg_jax.results.pairing")
report_page = lazy.module("samg_jax.results.report_page")
suite_table = lazy.module("samg_jax.results.suite_table")
suite_location = lazy.module("samg_jax.results.suite_location")
watching = lazy.module("samg_jax.results.watching")
suite_results = lazy.module("samg_jax.suites.suite_results")
compilation = lazy.module("samg_jax.compilation")

BASELINE = flags.DEFINE_string(
    "baseline",
    None,
    "Algorithm; names those that end below it by two standard errors. For runs only.",
)
TITLE = flags.DEFINE_string("title", None, "Heading of the table. For runs only.")
COMMAND = flags.DEFINE_string(
    "command", None, "The command that made the runs, for the table. For runs only."
)
PAIRED = flags.DEFINE_bool(
    "paired", False, "Compare each run with the first, paired by seed. For runs only."
)
JSON = flags.DEFINE_string(
    "json",
    None,
    "File for the scores of every seed at every evaluation. For runs only.",
)
OUT = flags.DEFINE_string(
    "out",
    None,
    "For a suite: folder of the report, by default report/ in the suite's folder. For "
    "runs: Markdown file for the table.",
)
REPS = command_line.define_integer(
    "reps", 2_000, "Resamples of every bootstrap. For a suite only.", least=10
)
WATCH = flags.DEFINE_bool(
    "watch", False, "Update the report when the results change. For a suite only."
)
EVERY = flags.DEFINE_float(
    "every", 10.0, "Seconds between two checks with --watch.", lower_bound=0.1
)
OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace the files of --out and --json if they exist."
)
WATCH_SECONDS = flags.DEFINE_float(
    "watch_seconds", None, "Seconds until --watch ends; by default only Ctrl-C ends it."
)

# What the report of a suite needs beside the package, all in the extra.
JOBS = "jobs"  # Folder of a suite that holds what is done.
NEEDED = ("arch", "jinja2", "pandas", "pyarrow", "rliable")


def main(argv: list[str]) -> None:
    """Reports the suite whose folder, or the runs whose workdirs, are the arguments."""
    logs.quiet_libraries()
    folders = [pathlib.Path(name).expanduser() for name in argv[1:]]
    # Ctrl-C is how --watch ends.
    with checks.program() if WATCH.value else signals.program():
        if WATCH.value or is_suite(folders):
            report_suite(folders)
            return
        for value, flag in ((OUT.value, "--out"), (JSON.value, "--json")):
            if value:
                checks.file(pathlib.Path(value).expanduser(), flag, OVERWRITE.value)
        compilation.start()  # The report names the devices.
        outcomes = read(folders)
        text = describe(outcomes)
        print(text, end="")
        write(OUT.value, text)
        write(JSON.value, pairing.text(outcomes, COMMAND.value))


def write(name: str | None, text: str) -> None:
    """Writes a file, if one was asked for."""
    if name:
        path = pathlib.Path(name).expanduser()
        durable.write_result(path, text)


def is_suite(folders: list[pathlib.Path]) -> bool:
    """Returns whether the one folder that is named is a suite's."""
    if len(folders) != 1:
        return False
    return suite_location.find(folders[0]) is not None or (folders[0] / JOBS).is_dir()


def report_suite(folders: list[pathlib.Path]) -> None:
    """Writes the page of a suite, once or while it is watched."""
    if len(folders) != 1:
        raise checks.UserError(
            f"{len(folders)} folders were named with --watch; it follows the results of"
            " one suite. Give its folder, as in python -m samg_jax.report runs/suite "
            "--watch."
        )
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise checks.UserError(
            f"The report of a suite needs {', '.join(missing)}, not installed here. "
            'Run: pip install -e ".[report]"'
        )
    startup.begin()
    if not WATCH.value:
        restore(folders[0])
    out = pathlib.Path(OUT.value or folders[0] / "report").expanduser()
    if WATCH.value:
        given = REPS.value, EVERY.value, WATCH_SECONDS.value
        watching.watch(folders[0], out, *given)
        return
    print(f"report: {report_page.write(folders[0], out, REPS.value)}")


def restore(folder: pathlib.Path) -> None:
    """Writes a suite's table anew from its jobs, where it is missing or damaged.

    Raises:
        checks.UserError: no job of it is complete.
    """
    if not (folder / JOBS).is_dir() or suite_table.readable(folder):
        return
    with durable.writing(folder, advice=durable.AGAIN):
        rows = suite_results.Table(folder).update()
    if rows.empty:
        raise checks.UserError(
            f"No job of the suite in {str(folder)!r} is complete yet, so there is "
            "nothing to report. The suite's command continues where it stopped; "
            "--watch waits for the first results."
        )
    print(f"The table of {folder} has been rebuilt from its complete jobs.")


def read(workdirs: list[pathlib.Path]) -> list[run_comparison.Outcome]:
    """Returns the outcomes of finished runs."""
    if not workdirs:
        raise checks.UserError(
            "No runs were named; at least one is needed. Give their workdirs, as in "
            "python -m samg_jax.report runs/*, or the --out folder of a suite."
        )
    return [one for workdir in workdirs for one in run_comparison.read(workdir)]


def describe(outcomes: list[run_comparison.Outcome]) -> str:
    """Returns the report of finished runs as Markdown."""
    parts = [f"# {markup.markdown(TITLE.value)}"] if TITLE.value else []
    parts.append(run_comparison.table(outcomes))
    if BASELINE.value:
        parts.append(run_comparison.below(outcomes, BASELINE.value))
    if PAIRED.value:
        parts.append(pairing.table(outcomes))
    if COMMAND.value:
        parts.append(f"Command: {markup.markdown_code(COMMAND.value)}")
    parts.append(provenance.text(provenance.describe()))
    return "\n\n".join(parts) + "\n"


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main, positional=True)


if __name__ == "__main__":
    run()
