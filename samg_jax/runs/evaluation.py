"""Evaluation episodes of all seeds, played as one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from samg_jax.envs import tasks, vector
from samg_jax.experiment.datasets import Preprocessing
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import signals
from samg_jax.training import devices, seed_axis


class Scores(NamedTuple):
    """Results of an evaluation, per seed.

    Attributes:
        returns: `[S, episodes]` undiscounted raw returns.
        normalized: `[S]` D4RL's score of the mean return, NaN without a reference.
        lengths: `[S]` mean length of an episode in steps.
    """

    returns: np.ndarray
    normalized: np.ndarray
    lengths: np.ndarray


def success_rates(scores: Scores) -> np.ndarray:
    """Returns the share `[S]` of episodes that reached the goal; of sparse tasks."""
    return (scores.returns > 0).mean(axis=1)


def start_seeds(experiment: Experiment, episodes: int, seed: int = 0) -> list[int]:
    """Returns the simulators' seeds, `episodes` for every seed of the run.

    Args:
        experiment: The resolved experiment.
        episodes: per seed.
        seed: 0 for the start states of training's evaluations.
    """
    name = f"evaluation {seed}" if seed else "evaluation"
    return seed_axis.host_seeds(experiment.seeds, name, episodes)


def of_run(experiment: Experiment) -> Callable[[Any, Preprocessing], Scores]:
    """The function that plays the evaluation episodes of a run."""
    settings = experiment.settings.evaluation
    return make_evaluator(
        experiment, settings.episodes, settings.threads, 0, settings.max_steps
    )


def make_evaluator(
    experiment: Experiment,
    episodes: int,
    threads: int,
    seed: int = 0,
    max_steps: int | None = None,
) -> Callable[[Any, Preprocessing], Scores]:
    """Returns the function that plays `episodes` per seed with evaluation actions.

    An environment that is built only once is shared with training, whose episode this
    interrupts; its evaluation episodes follow each other.

    As in CORL the simulators are seeded anew at every evaluation, so start states
    repeat from one evaluation to the next, and evaluations leave no trace.

    Args:
        experiment: The resolved experiment.
        episodes: per seed.
        threads: of the simulators; 0 for one per core.
        seed: of the start states, see `start_seeds`.
        max_steps: cuts episodes; needed without a time limit.
    """
    count, single = len(experiment.seeds), experiment.trial.single
    env_seeds = start_seeds(experiment, episodes, seed)
    side_by_side = 1 if single else episodes
    env = vector.make(
        experiment.task.env_id,
        count * side_by_side,
        env_seeds[: count * side_by_side],
        experiment.physics,
        threads or None,
        single,
        max_steps,
    )

    @jax.jit
    def act(agent, preprocessing, observations):
        def one(agent, observations):
            return experiment.online.act(agent, preprocessing.normalizer(observations))

        every = jax.vmap(one, in_axes=(seed_axis.axes(agent), 0))
        in_specs = devices.specs(agent), devices.OF_SEEDS
        return devices.each(experiment.mesh, every, in_specs, devices.OF_SEEDS)(
            agent, observations
        )

    def evaluate(agent: Any, preprocessing: Preprocessing) -> Scores:
        def policy(observations):
            signals.asked()  # A library may have swallowed Ctrl-C.
            by_seed = observations.reshape(count, side_by_side, -1)
            actions = np.asarray(act(agent, preprocessing, by_seed))
            return actions.reshape(count * side_by_side, -1)

        played = [
            vector.rollout(env, policy, seeds=env_seeds[first : first + env.num_envs])
            for first in range(0, len(env_seeds), env.num_envs)
        ]
        returns, lengths = (np.concatenate(part) for part in zip(*played, strict=True))
        returns = returns.reshape(count, episodes)
        return Scores(
            returns=returns,
            normalized=tasks.normalized_score(returns.mean(axis=1), experiment.task),
            lengths=lengths.reshape(count, episodes).mean(axis=1),
        )

    return evaluate
