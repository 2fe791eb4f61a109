r"""The main job: offline pre-training, then fine-tuning, of several seeds at once.

    python -m samg_jax.train --config=configs/cql_samg.py:halfcheetah-medium
    python -m samg_jax.train --config=configs/awac_samg.py:hopper-demo \
        --config.num_seeds=8 --config.online.steps=20000 --workdir=runs/mine

The same command resumes a run that was stopped. `--dry_run` says what would be done.
"""

import pathlib

from absl import app, flags
from ml_collections import config_flags

from samg_jax import checks, entry
from samg_jax.analysis import summary
from samg_jax.training import (
    command_line,
    compilation,
    estimate,
    experiment,
    logs,
)

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment, as in configs/cql_samg.py:halfcheetah-medium."
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
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Runs the experiment that the flags describe."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}")
    logs.quiet_libraries()
    config = CONFIG.value
    if SWEEP.value:
        with config.unlocked():
            config.sweep = tuple(SWEEP.value)
    workdir = pathlib.Path(WORKDIR.value or experiment.default_workdir(config))
    resumable = "Interrupted. The same command goes on from the last checkpoint."
    with checks.program(resumable):
        if DRY_RUN.value:
            print(estimate.describe(config, workdir))
            return
        compilation.use_cache(config.compilation_cache)
        summary.report(experiment.run(config, workdir.expanduser()))


def run() -> None:
    """Runs the program with the arguments of the command line."""
    entry.start(main, command_line.parse)


if __name__ == "__main__":
    run()
