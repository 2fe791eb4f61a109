"""The online loop of a real run: the parts of an environment step's time."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections

from samg_jax.benchmarking import benchmark_cases, repeated_timings, synthetic_data
from samg_jax.benchmarking.benchmark_cases import Case
from samg_jax.runs import lifecycle, stopwatch

# The run-up to fine-tuning is minimal: its speed does not depend on what was learned.
SHORT = {
    "offline.updates": 1,
    "guidance.cvae.steps": 2,
    "guidance.cvae.kl_warmup_start": 0,
    "guidance.cvae.kl_warmup_steps": 1,
}
PARTS = ("environment", "update", "evaluation", "rest")


def measure(
    case: Case, configs: pathlib.Path, folder: pathlib.Path, laps: int, steps: int
) -> dict[str, Any]:
    """Measure the steps per second of fine-tuning, and the shares of its parts.

    Runs the experiment of the config: a lap to warm up and compile, then `laps` of
    `steps` environment steps per seed, each with a log, an evaluation and a checkpoint.
    Evaluations and checkpoints count as often as in the config. `update` is the time
    that the host waits for the device, `rest` everything in no other part. If the
    environments step during the updates, `environment` is the time spent waiting for
    environments that finish later than the device; see `stepping`.

    Args:
        case: A case with a phase of fine-tuning.
        configs: The folder of the config files.
        folder: A folder for the random data and the run.
        laps: The number of timed repeats.
        steps: The number of steps of a lap.
    """
    task = benchmark_cases.experiment(case, configs).task
    data = synthetic_data.file(folder, task, case.rows)
    config = benchmark_cases.load(case, configs, data)
    periods = config.online.eval_every, config.online.checkpoint_every
    shorten(config, laps, steps)
    workdir = folder / "_".join(str(value) for value in case.describe().values())
    workdir.mkdir()
    with contextlib.redirect_stdout(sys.stderr):  # Only the table goes to stdout.
        run = lifecycle.run(config, workdir)
    return {
        **case.describe(),
        "batch_size": config.online.batch_size,
        **summarize(run.clock.laps[-laps:], *periods, case.seeds),
    }


def shorten(config: ml_collections.ConfigDict, laps: int, steps: int) -> None:
    """Shorten a run, in place, to one lap more than are timed, all of equal length."""
    fields = {name: value for name, value in SHORT.items() if _has(config, name)}
    with config.ignore_type():
        config.update_from_flattened_dict(fields)
    online = config.online
    online.steps = (laps + 1) * steps
    online.log_every = online.eval_every = online.checkpoint_every = steps
    online.warmup_steps = min(online.warmup_steps, steps)


def summarize(
    laps: Sequence[stopwatch.Lap], eval_every: int, checkpoint_every: int, seeds: int
) -> dict[str, Any]:
    """Rates and shares of laps with one evaluation and one checkpoint each.

    Args:
        laps: Laps of equal length.
        eval_every: The number of environment steps between evaluations of a real run.
        checkpoint_every: The number of steps between checkpoints of a real run.
        seeds: The number S of seeds.
    """
    splits = []
    for lap in laps:
        parts = lap.parts
        unclaimed = lap.seconds - sum(parts.values())
        splits.append(
            {
                "environment": parts["environment"] / lap.steps,
                "update": parts["update"] / lap.steps,
                "evaluation": parts["evaluation"] / eval_every,
                "rest": unclaimed / lap.steps + parts["checkpoint"] / checkpoint_every,
            }
        )
    totals = [sum(split.values()) for split in splits]
    milliseconds, shares = {}, {}
    for name in PARTS:
        times = [split[name] for split in splits]
        milliseconds[name] = repeated_timings.summarize(
            [1e3 * value for value in times]
        )
        shares[name] = repeated_timings.ratios(times, totals)
    return {
        "steps_per_second": repeated_timings.summarize([1 / total for total in totals]),
        "summed": repeated_timings.summarize([seeds / total for total in totals]),
        "milliseconds": milliseconds,
        "shares": shares,
    }


def _has(config: ml_collections.ConfigDict, name: str) -> bool:
    node = config
    for part in name.split("."):
        if part not in node:
            return False
        node = node[part]
    return True
