r"""The main job: offline pre-training, then fine-tuning, of several seeds at once.

    python -m samg_jax.train --config=configs/cql_samg.py:halfcheetah-medium
    python -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
        --config.num_seeds=8 --config.online.steps=20000 --workdir=runs/mine

The same command resumes a run that was stopped. `--dry_run` reads the data and prints
what the run would do. `--explain=guidance.penalty` documents a field.
"""

import pathlib

from absl import flags

from samg_jax import checks, lazy, logs, trust
from samg_jax.experiment import command_line
from samg_jax.runs import signals

run_summary = lazy.module("samg_jax.results.run_summary")
compilation = lazy.module("samg_jax.compilation")
dry_run = lazy.module("samg_jax.runs.dry_run")
lifecycle = lazy.module("samg_jax.runs.lifecycle")

CONFIG = command_line.ExperimentFlag(
    "Experiment, as in configs/cql_samg.py:halfcheetah-medium."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where results go; by default a folder under runs/."
)
SWEEP = flags.DEFINE_multi_string(
    "sweep",
    [],
    "Fine-tune with several values of a setting at once, from one offline phase, as in "
    "guidance.threshold=0,0.3,0.5,0.75; given more than once, with all combinations.",
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the config, update counts and memory, and exit."
)
EXPLAIN = command_line.define_explain()
TRUST = trust.define_flag()


def main(argv: list[str]) -> None:
    """Runs the experiment that the flags describe."""
    del argv
    logs.quiet_libraries()
    config = CONFIG.value
    if SWEEP.value:
        with config.unlocked():
            config.sweep = tuple(SWEEP.value)
    resumable = "Interrupted. The same command goes on from the last checkpoint."
    with checks.program(resumable):
        compilation.start()
        # Imported here, where signals end the process at once.
        chosen = WORKDIR.value or lifecycle.default_workdir(config.to_dict())
        workdir = pathlib.Path(chosen)
    terminated = "Terminated. The same command goes on from the last checkpoint."
    with signals.program(resumable, terminated), trust.files(TRUST.value):
        if DRY_RUN.value:
            print(dry_run.describe(config, workdir, CONFIG.given))
            return
        compilation.use_cache(config.compilation_cache)
        run = lifecycle.run(
            config,
            workdir.expanduser(),
            CONFIG.given,
            # A lambda, because the module is imported when it is needed.
            evaluated=lambda run: run_summary.redraw(run),
        )
        run_summary.report(run)


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main, CONFIG)


if __name__ == "__main__":
    run()
