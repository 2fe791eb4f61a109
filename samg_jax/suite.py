r"""Runs a suite: a grid of algorithms, variants, datasets and seeds.

    python -m samg_jax.suite --suite=smoke --out=runs/smoke --dry_run
    python -m samg_jax.suite --suite=smoke --out=runs/smoke --set=num_seeds=2
    python -m samg_jax.report runs/smoke --out=report

Every pair of algorithm and dataset is pre-trained once and forked to all variants. The
same command continues a suite that was stopped. `--explain=suite` says which fields
`--set` changes.
"""

import sys

from absl import flags

from samg_jax import checks, declarations, lazy, logs, startup
from samg_jax.experiment import command_line, config_files, suite_files
from samg_jax.runs import signals

compilation = lazy.module("samg_jax.compilation")
suite_program = lazy.module("samg_jax.suites.suite_program")

SUITE = flags.DEFINE_string(
    "suite",
    None,
    "The name of a suite, or the path of a file with one. Suites: "
    f"{', '.join(suite_files.known(config_files.HOME))}.",
)
OUT = flags.DEFINE_string("out", None, "The folder of the suite's jobs and results.")
SET = flags.DEFINE_multi_string(
    "set",
    [],
    "A field of the suite, as in num_seeds=2, or config.FIELD=VALUE for all "
    "experiments.",
)
CONFIGS = flags.DEFINE_string(
    "configs", None, "Folder of the config files; by default the package's own."
)
EXECUTOR = flags.DEFINE_enum(
    "executor",
    "local",
    list(declarations.load("suites.executors").constant("KINDS")),
    "Where the jobs run.",
)
OPTION = flags.DEFINE_multi_string(
    "option",
    [],
    "An option of the executor ray or slurm, as in cpus=2; a wrong one is refused with "
    "a list of all.",
)
PROCESSES = command_line.define_integer(
    "processes", None, "Jobs at once on this machine; by default one.", 1
)
RETRIES = command_line.define_integer(
    "retries", 1, "How often a job whose process was killed is started again.", 0
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the jobs of the suite with their memory, and exit."
)
EXPLAIN = command_line.define_explain()
GOES_ON = "The same command goes on where it stopped."


def main(argv: list[str]) -> None:
    """Runs the suite that the flags describe, and ends the process."""
    del argv
    logs.quiet_libraries()
    with checks.program():
        # What can be refused before JAX is imported.
        configs = config_files.folder(CONFIGS.value)
        suite_files.check_given(SUITE.value, OUT.value, configs)
        suite = suite_files.load(SUITE.value, configs, SET.value)
    _ = suite_program.run  # Imported here, where signals end the process at once.
    with signals.program(f"Interrupted. {GOES_ON}", f"Terminated. {GOES_ON}"):
        compilation.check()
        startup.check_platforms()
        status = suite_program.run(
            suite,
            OUT.value,
            configs,
            executor=EXECUTOR.value,
            options=OPTION.value,
            processes=PROCESSES.value,
            retries=RETRIES.value,
            dry_run=DRY_RUN.value,
        )
        sys.exit(status)


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main)


if __name__ == "__main__":
    run()
