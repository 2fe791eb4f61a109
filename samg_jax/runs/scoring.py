"""Evaluating the policies of a checkpoint on their own task."""

from __future__ import annotations

import dataclasses
import pathlib

from samg_jax import checks
from samg_jax.envs import d4rl_physics, rendering
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import evaluation, saved_policies
from samg_jax.runs.saved_policies import Policies, Saved


def choose_physics(parts: Experiment, wanted: str | None) -> list[str]:
    """Returns the physics to play with, each possible on the task.

    Args:
        parts: of the run.
        wanted: `d4rl`, `stock`, `both`, or None for the run's own.

    Raises:
        checks.UserError: where one of them is not defined for the environment.
    """
    names = [wanted or parts.physics]
    if wanted == "both":
        names = list(d4rl_physics.PHYSICS)
    for name in names:
        d4rl_physics.resolve(parts.task.env_id, name)
    return names


def describe(saved: Saved, names: list[str], episodes: int, seed: int) -> str:
    """Returns what is evaluated, where, and what the scores are."""
    parts = saved.parts
    places = [
        f"{d4rl_physics.resolve(parts.task.env_id, name)} (physics {name})"
        for name in names
    ]
    lines = [
        f"checkpoint: {saved}",
        f"algorithm: {parts.settings.algorithm}; trained with physics {parts.physics}",
        f"offline data: {saved.meta['data_source']}",
        f"environment: {', '.join(places)}",
        f"episodes: {episodes} per seed, evaluation actions, start states {seed}",
        "std: over the episodes of a seed",
    ]
    if parts.task.ref_min is not None:
        lines.append(
            "score: D4RL's normalized score of the mean return; as published with "
            "physics d4rl only"
        )
    return "\n".join(lines)


def score(
    parts: Experiment,
    restored: Policies,
    names: list[str],
    starts: tuple[int, int],
    max_steps: int | None = None,
) -> dict[str, evaluation.Scores]:
    """Returns physics -> scores of all seeds.

    Args:
        parts: of the run.
        restored: what acts.
        names: from `choose_physics`.
        starts: episodes per seed, and seed of the start states.
        max_steps: cuts episodes.
    """
    results, (episodes, seed) = {}, starts
    for name in names:
        there = dataclasses.replace(parts, physics=name)
        evaluate = evaluation.make_evaluator(there, episodes, 0, seed, max_steps)
        results[name] = evaluate(restored.agent, restored.preprocessing)
    return results


def place_of(parts: Experiment, seed: int | None) -> int:
    """Returns the place of a seed among those of the run; of None, the first."""
    if seed is None:
        return 0
    values = [int(value) for value in parts.seeds]
    if seed not in values:
        raise checks.UserError(
            f"The checkpoint has no seed {seed}; it has {values}. Give "
            f"video_seed={values[0]}, for example."
        )
    return values.index(seed)


def film(
    parts: Experiment,
    restored: Policies,
    name: str,
    seed: int | None,
    starts: tuple[int, int],
    path: pathlib.Path,
    max_steps: int | None = None,
) -> tuple[int, rendering.Episode]:
    """Writes a video of one episode; returns the seed that acted, and the episode.

    Args:
        parts: of the run.
        restored: what acts.
        name: of the physics.
        seed: which one acts, None for the first.
        starts: episodes per seed and seed of the start states, as in `score`; the
            first of its episodes is filmed.
        path: of the video.
        max_steps: cuts the episode.
    """
    index = place_of(parts, seed)
    env_seed = evaluation.start_seeds(parts, *starts)[index * starts[0]]
    policy = saved_policies.of_seed(parts, restored, index)
    episode = rendering.film(parts.task.env_id, name, policy, env_seed, path, max_steps)
    return int(parts.seeds[index]), episode
