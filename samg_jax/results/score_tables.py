"""Scores of a checkpoint: a table to read, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samg_jax.envs import tasks
from samg_jax.results import seed_statistics
from samg_jax.runs import evaluation

WIDTH = 9


def columns(scores: evaluation.Scores, task: tasks.Task) -> dict[str, np.ndarray]:
    """Returns name -> `[S]`, those that are defined on the task.

    The spread is the standard deviation over the episodes of a seed.
    """
    result = {
        "return_mean": scores.returns.mean(axis=1),
        "return_std": scores.returns.std(axis=1),
    }
    if task.ref_min is not None:
        result["normalized_score"] = scores.normalized
    result["episode_length"] = scores.lengths
    if task.sparse:
        result["success_rate"] = evaluation.success_rates(scores)
    return result


# What stands above a column, and its digits after the point.
HEADINGS = {
    "return_mean": ("return", 1),
    "return_std": ("±std", 1),
    "normalized_score": ("score", 1),
    "episode_length": ("length", 1),
    "success_rate": ("success", 3),
}


def table(
    seeds: Sequence[int],
    alive: np.ndarray,
    results: Mapping[str, evaluation.Scores],
    task: tasks.Task,
) -> str:
    """Returns one row per seed, and the mean of those that lasted.

    Args:
        seeds: `[S]` values of the seeds.
        alive: `[S]`.
        results: physics -> scores; side by side.
        task: that was played.
    """
    blocks = {name: columns(scores, task) for name, scores in results.items()}
    headings = [HEADINGS[name] for block in blocks.values() for name in block]
    values = np.stack([v for block in blocks.values() for v in block.values()], axis=1)
    groups = [
        f"{f'physics {name}':>{(WIDTH + 1) * len(block)}}"
        for name, block in blocks.items()
    ]
    lines = [
        f"{'':<14}{''.join(groups)}",
        f"{'':<14}{''.join(f'{heading:>{WIDTH + 1}}' for heading, _ in headings)}",
    ]
    for seed, row, lasted in zip(seeds, values, alive, strict=True):
        note = "" if lasted else "  failed"
        lines.append(f"{f'seed {seed}':<14}{_cells(row, headings)}{note}")
    kept = values[np.asarray(alive, bool)]
    if len(kept):
        note = "" if len(kept) == len(values) else f"  of {len(kept)} that lasted"
        lines.append(f"{'mean':<14}{_cells(kept.mean(axis=0), headings)}{note}")
    if len(kept) > 1:
        widths = [seed_statistics.interval(column)[1] for column in kept.T]
        cells = [
            f"{'' if heading == '±std' else f'±{width:.{digits}f}':>{WIDTH + 1}}"
            for width, (heading, digits) in zip(widths, headings, strict=True)
        ]
        lines.append(f"{'95 % interval':<14}{''.join(cells)}")
    return "\n".join(lines)


def _cells(row: np.ndarray, headings: Sequence[tuple[str, int]]) -> str:
    pairs = zip(row, headings, strict=True)
    return "".join(f"{value:>{WIDTH + 1}.{digits}f}" for value, (_, digits) in pairs)


def as_json(
    seeds: Sequence[int],
    alive: np.ndarray,
    results: Mapping[str, evaluation.Scores],
    task: tasks.Task,
) -> dict[str, list[dict[str, Any]]]:
    """Returns physics -> one dictionary per seed, every return included.

    Takes what `table` takes. What is not defined on the task is not there.
    """
    return {
        name: [
            {
                "seed": int(seed),
                "failed": not alive[index],
                **{key: float(v[index]) for key, v in columns(scores, task).items()},
                "returns": scores.returns[index].tolist(),
            }
            for index, seed in enumerate(seeds)
        ]
        for name, scores in results.items()
    }
