"""The online loop of a real run: where the time of an environment step goes."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections

from samg_jax.benchmarking import benchmark_cases, repeated_timings, synthetic_data
from samg_jax.benchmarking.benchmark_cases import Case
from samg_jax.experiment import resolution
from samg_jax.runs import lifecycle, stopwatch

# Before it, only what the loop needs: the speed does not depend on what was learned.
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
    """The steps per second of fine-tuning, and the shares of its parts.

    Runs the experiment of the config: a lap to warm up and compile, then `laps` of
    `steps` environment steps per seed, each with a log, an evaluation and a checkpoint.
    Evaluations and checkpoints count as often as the config has them. `update` is the
    time that the host waits for the device, `rest` whatever is in no other part. Where
    the environments step beside the updates, `environment` is the waiting for those
    that are done later than the device; see `stepping`.

    Args:
        case: of a phase of fine-tuning.
        configs: folder of the config files.
        folder: for the random data, and for the run.
        laps: timed repeats.
        steps: of one lap.
    """
    config = benchmark_cases.load(case, configs)
    task = resolution.resolve_task(config)
    data = synthetic_data.file(folder, task, case.rows)
    config = benchmark_cases.load(case, configs, data)
    periods = config.online.eval_every, config.online.checkpoint_every
    shorten(config, laps, steps)
    workdir = folder / "_".join(str(value) for value in case.describe().values())
    workdir.mkdir()
    with contextlib.redirect_stdout(sys.stderr):  # The output is the table's.
        run = lifecycle.run(config, workdir)
    return {
        **case.describe(),
        "batch_size": config.online.batch_size,
        **summarize(run.clock.laps[-laps:], *periods, case.seeds),
    }


def shorten(config: ml_collections.ConfigDict, laps: int, steps: int) -> None:
    """Makes a run, in place, of one lap more than are timed, all of equal length."""
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
    """Rates and shares of laps with one evaluation and checkpoint each.

    Args:
        laps: of equal length.
        eval_every: environment steps between two evaluations of a real run.
        checkpoint_every: likewise.
        seeds: S.
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
