"""Scores of a checkpoint: a table to read, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samg_jax.envs import tasks
from samg_jax.results import seed_statistics
from samg_jax.runs import evaluation

FIRST, WIDTH = 14, 10  # Letters of the first and of every other column.


def columns(scores: evaluation.Scores, task: tasks.Task) -> dict[str, np.ndarray]:
    """Name -> `[S]`, of what is defined on the task.

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
    """One row per seed, the mean of those that lasted, and its interval.

    Args:
        seeds: `[S]` values of the seeds.
        alive: `[S]` whether a seed stayed finite.
        results: physics -> scores, which are side by side.
        task: The task that was played.
    """
    blocks = {name: columns(scores, task) for name, scores in results.items()}
    headings = [HEADINGS[name] for block in blocks.values() for name in block]
    values = np.stack([v for block in blocks.values() for v in block.values()], axis=1)
    groups = [f"{f'physics {n}':>{WIDTH * len(block)}}" for n, block in blocks.items()]
    forms = [f".{digits}f" for _, digits in headings]
    spreads = [i for i, (heading, _) in enumerate(headings) if heading == "±std"]
    widths = (FIRST, WIDTH)
    lines = seed_statistics.seed_lines(seeds, values, alive, forms, widths, spreads)
    titles = "".join(f"{heading:>{WIDTH}}" for heading, _ in headings)
    return "\n".join([" " * FIRST + "".join(groups), " " * FIRST + titles, *lines])


def as_json(
    seeds: Sequence[int],
    alive: np.ndarray,
    results: Mapping[str, evaluation.Scores],
    task: tasks.Task,
) -> dict[str, list[dict[str, Any]]]:
    """Physics -> one dictionary per seed, every return included.

    Takes the arguments of `table`. What is not defined on the task is left out.
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
