"""New data: SAC trained online, and rollouts of what it learned.

The levels follow D4RL: `random` is the untrained policy, `medium` the first policy that
reaches a share of the reference return, `medium-replay` everything it saw until then,
`expert` the best policy of a longer training, and `medium-expert` half of each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from samg_jax import checks
from samg_jax.collecting import recording
from samg_jax.data import transitions
from samg_jax.envs import tasks, vector
from samg_jax.experiment import datasets, resolve, spec
from samg_jax.experiment.resolved import Experiment
from samg_jax.runs import environments, evaluation
from samg_jax.training import offline_phase, online_phase, seed_axis

LEVELS = ("random", "medium", "medium-replay", "medium-expert", "expert")
ROLLOUT_ENVS = 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of SAC's training.

    Attributes:
        train_steps: the largest number of environment steps.
        warmup_steps: the steps of the untrained policy before the first update.
        eval_every: the number of steps between evaluations.
        episodes: the number of episodes of an evaluation.
        medium_return: the mean return from which a policy counts as medium.
        hidden_dims: the widths of the layers of actor and critics.
        max_steps: the number of steps that cuts evaluation episodes.
    """

    train_steps: int
    warmup_steps: int
    eval_every: int
    episodes: int
    medium_return: float
    hidden_dims: tuple[int, ...]
    max_steps: int | None = None


@dataclasses.dataclass(frozen=True)
class Trained:
    """A policy that SAC has learned.

    Attributes:
        agent: the agent's state, stacked over one seed.
        score: the mean return of the policy's evaluation.
        steps: the number of environment steps of its training.
    """

    agent: Any
    score: float
    steps: int


def make_experiment(env_id: str, physics: str | None, seed: int, settings: Settings):
    """Returns SAC on an environment: CQL with its penalty off."""
    agent = {
        "actor_learning_rate": 3e-4,
        "critic_learning_rate": 3e-4,
        "actor_hidden_dims": settings.hidden_dims,
        "critic_hidden_dims": settings.hidden_dims,
        "cql_weight": 0.0,
        "backup_entropy": True,
    }
    config = {
        "algorithm": "cql",
        "agent": agent,
        "seed": seed,
        "num_seeds": 1,
        "env_id": env_id,
        "physics": physics,
        "dataset": {"name": None, "path": None},
        "guidance": {"weight": "none"},
    }
    experiment = resolve.from_fields(config)
    return environments.try_out(experiment)


def untrained(experiment: Experiment) -> offline_phase.State:
    """Returns the state before any training, with raw observations and rewards."""
    preprocessing = datasets.Preprocessing(
        transitions.Normalizer.identity(experiment.task.observation_size),
        transitions.RewardTransform.identity(),
    )
    return offline_phase.init(experiment, preprocessing)


def learn(
    experiment: Experiment, settings: Settings, recorder: recording.Recorder
) -> Iterator[Trained]:
    """Yields the policy after every evaluation of a training of SAC.

    Args:
        experiment: The experiment from `make_parts`.
        settings: The settings of the training.
        recorder: The recorder that keeps every step.
    """
    phase = spec.Online(
        steps=settings.train_steps,
        batch_size=256,
        updates_per_step=1,
        data="buffer",
        buffer_size=1_000_000,
        warmup_steps=settings.warmup_steps,
    )
    env_seeds = seed_axis.host_seeds(experiment.seeds, "training")
    single = experiment.trial.single
    env = vector.make(
        experiment.task.env_id, 1, env_seeds, experiment.physics, single=single
    )
    state = online_phase.init(experiment, phase, untrained(experiment), env.reset())
    step = online_phase.make_step(experiment, phase)
    evaluate = evaluation.make_evaluator(
        experiment, settings.episodes, 0, 0, settings.max_steps
    )
    restart = environments.make_restart(experiment)
    with tqdm(total=settings.train_steps, unit="step", desc="SAC") as bar:
        for count in range(settings.train_steps):
            observations, actions = env.observations, np.asarray(state.actions)
            outcome = env.step(actions)
            due = (count + 1) % settings.eval_every == 0
            if due and single:  # The evaluation will interrupt the episode.
                outcome = outcome._replace(timeouts=np.ones(1, bool))
            recorder.add(observations, np.clip(actions, -1, 1), outcome)
            turns = int(count >= settings.warmup_steps)
            state = step(state, online_phase.to_env_step(outcome), None, turns)
            bar.update()
            if due:
                scores = evaluate(state.agent, state.preprocessing)
                score = float(scores.returns.mean())
                bar.set_postfix_str(f"return {score:.0f}")
                yield Trained(jax.device_get(state.agent), score, count + 1)
                if single:
                    first = env.reset(environments.new_seeds(experiment, count + 1))
                    state = restart(state, first)
    env.close()


def train(
    experiment: Experiment, settings: Settings, until_medium: bool
) -> tuple[Trained | None, Trained, dict[str, np.ndarray]]:
    """Train SAC; returns the first medium policy, the best one, and all rows seen.

    Args:
        experiment: The experiment from `make_parts`.
        settings: The settings of the training.
        until_medium: Whether to stop at the medium level.

    Returns:
        The medium policy is None if none reached that level.
    """
    recorder, medium, best = recording.Recorder(), None, None
    for trained in learn(experiment, settings, recorder):
        if medium is None and trained.score >= settings.medium_return:
            medium = trained
        if best is None or trained.score > best.score:
            best = trained
        if until_medium and medium is not None:
            break
    return medium, best, recorder.rows()


def missed(best: Trained, settings: Settings) -> str:
    """The message for the user if no policy reached the medium level."""
    return (
        f"No policy reached the medium return of {settings.medium_return:.0f} "
        f"within {settings.train_steps} steps; the best evaluation was "
        f"{best.score:.0f}. Set train_steps={2 * settings.train_steps}, or "
        f"medium_return={best.score:.0f}."
    )


def roll_out(experiment: Experiment, agent: Any, steps: int) -> dict[str, np.ndarray]:
    """Roll out the stochastic policy; returns rows, key -> `[steps, ...]`.

    Args:
        experiment: The experiment with the environment.
        agent: The agent's state, stacked over one seed.
        steps: The total number of rows, from several environments one after another.
    """
    single = experiment.trial.single
    count = 1 if single else min(ROLLOUT_ENVS, steps)
    env_seeds = seed_axis.host_seeds(experiment.seeds, "rollout", count)
    env = vector.make(
        experiment.task.env_id, count, env_seeds, experiment.physics, single=single
    )
    agent = seed_axis.select(agent, 0)

    @jax.jit
    def act(agent, observations, turn):
        key = seed_axis.stream(experiment.seeds[0], "rollout actions", turn)
        return experiment.online.explore(agent, observations, key)

    recorder = recording.Recorder()
    observations = env.reset()
    for turn in range(-(-steps // count)):
        actions = np.asarray(act(agent, observations, turn))
        outcome = env.step(actions)
        recorder.add(observations, np.clip(actions, -1, 1), outcome)
        observations = outcome.observations
    env.close()
    return recorder.rows(steps)


def collect(
    experiment: Experiment,
    settings: Settings,
    level: str,
    steps: int,
    strict: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Collect the rows of a level, and attributes that describe them.

    If no policy reaches the medium level, the best one replaces it, so that the
    training is not lost: the attribute `level` then says that it is below, and
    `wanted_level` and `wanted_return` say what was requested.

    Args:
        experiment: The experiment from `make_parts`.
        settings: The settings of the training.
        level: One of `LEVELS`.
        steps: The number of rows to play; `medium-replay` has those of the training.
        strict: Whether to refuse a level that was not reached.
    """
    if level == "random":
        agent = jax.device_get(untrained(experiment).agent)
        return roll_out(experiment, agent, steps), {"policy": "untrained SAC policy"}
    until_medium = level in ("medium", "medium-replay")
    medium, expert, replay = train(experiment, settings, until_medium)
    if level == "expert":
        return roll_out(experiment, expert.agent, steps), _describe(expert)
    if medium is None:
        if strict:
            raise checks.UserError(missed(expert, settings))
        rows = replay
        if level != "medium-replay":
            rows = roll_out(experiment, expert.agent, steps)
        return rows, {
            **_describe(expert),
            "level": f"below-{level}" if until_medium else "below-medium",
            "wanted_level": level,
            "wanted_return": settings.medium_return,
            "warning": missed(expert, settings),
        }
    if level == "medium-replay":
        return replay, _describe(medium)
    if level == "medium":
        return roll_out(experiment, medium.agent, steps), _describe(medium)
    halves = [
        roll_out(experiment, expert.agent, steps - steps // 2),
        roll_out(experiment, medium.agent, steps // 2),
    ]
    rows = {key: np.concatenate([half[key] for half in halves]) for key in halves[0]}
    return rows, {**_describe(expert), **_describe(medium, "medium_")}


def _describe(trained: Trained, prefix: str = "") -> dict[str, Any]:
    return {
        f"{prefix}policy": "SAC, stochastic actions",
        f"{prefix}policy_train_steps": trained.steps,
        f"{prefix}policy_evaluation_return": trained.score,
    }


def medium_return(task: tasks.Task, share: float) -> float | None:
    """The return at a share of the task's references; None without references."""
    if task.ref_min is None or task.ref_max is None:
        return None
    return task.ref_min + share * (task.ref_max - task.ref_min)
