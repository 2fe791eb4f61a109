"""Evaluating the policies of a checkpoint on their own task."""

from __future__ import annotations

import dataclasses
import pathlib

from samg_jax import checks
from samg_jax.envs import d4rl_physics, rendering
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import evaluation, saved_policies
from samg_jax.runs.saved_policies import Policies, Saved


def choose_physics(experiment: Experiment, wanted: str | None) -> list[str]:
    """Returns the physics to play with, each possible on the task.

    Args:
        experiment: The resolved experiment.
        wanted: `d4rl`, `stock`, `both`, or None for the run's own.

    Raises:
        checks.UserError: where one of them is not defined for the environment.
    """
    names = [wanted or experiment.physics]
    if wanted == "both":
        names = list(d4rl_physics.PHYSICS)
    for name in names:
        d4rl_physics.resolve(experiment.task.env_id, name)
    return names


def describe(saved: Saved, names: list[str], episodes: int, seed: int) -> str:
    """Returns what is evaluated, where, and what the scores are."""
    experiment = saved.experiment
    places = [
        f"{d4rl_physics.resolve(experiment.task.env_id, name)} (physics {name})"
        for name in names
    ]
    algorithm = experiment.settings.algorithm
    lines = [
        f"checkpoint: {saved}",
        f"algorithm: {algorithm}; trained with physics {experiment.physics}",
        f"offline data: {saved.meta['data_source']}",
        f"environment: {', '.join(places)}",
        f"episodes: {episodes} per seed, evaluation actions, start states {seed}",
        "std: over the episodes of a seed",
    ]
    if experiment.task.ref_min is not None:
        lines.append(
            "score: D4RL's normalized score of the mean return; as published with "
            "physics d4rl only"
        )
    return "\n".join(lines)


def score(
    experiment: Experiment,
    restored: Policies,
    names: list[str],
    starts: tuple[int, int],
    max_steps: int | None = None,
) -> dict[str, evaluation.Scores]:
    """Returns physics -> scores of all seeds.

    Args:
        experiment: The resolved experiment.
        restored: what acts.
        names: from `choose_physics`.
        starts: episodes per seed, and seed of the start states.
        max_steps: cuts episodes.
    """
    results, (episodes, seed) = {}, starts
    for name in names:
        there = dataclasses.replace(experiment, physics=name)
        evaluate = evaluation.make_evaluator(there, episodes, 0, seed, max_steps)
        results[name] = evaluate(restored.agent, restored.preprocessing)
    return results


def place_of(experiment: Experiment, seed: int | None) -> int:
    """Returns the place of a seed among those of the run; of None, the first."""
    if seed is None:
        return 0
    values = [int(value) for value in experiment.seeds]
    if seed not in values:
        raise checks.UserError(
            f"The checkpoint has no seed {seed}; it has {values}. Give "
            f"video_seed={values[0]}, for example."
        )
    return values.index(seed)


def film(
    experiment: Experiment,
    restored: Policies,
    name: str,
    seed: int | None,
    starts: tuple[int, int],
    path: pathlib.Path,
    max_steps: int | None = None,
) -> tuple[int, rendering.Episode]:
    """Writes a video of one episode; returns the seed that acted, and the episode.

    Args:
        experiment: The resolved experiment.
        restored: what acts.
        name: of the physics.
        seed: which one acts, None for the first.
        starts: episodes per seed and seed of the start states, as in `score`; the
            first of its episodes is filmed.
        path: of the video.
        max_steps: cuts the episode.
    """
    index = place_of(experiment, seed)
    env_seed = evaluation.start_seeds(experiment, *starts)[index * starts[0]]
    policy = saved_policies.of_seed(experiment, restored, index)
    episode = rendering.film(
        experiment.task.env_id, name, policy, env_seed, path, max_steps
    )
    return int(experiment.seeds[index]), episode
