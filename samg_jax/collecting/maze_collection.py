"""New AntMaze data: episodes of a scripted controller, in D4RL's format.

Everything except the policy follows D4RL (Fu et al., 2020). Each episode pursues its
own goal, continues after reaching it, and is cut off one row after the time limit.
Rewards and terminals are then written for one goal of the task, which is another one.
They therefore come in runs, and terminals are numbers.

The level decides where episodes start, and in which cell their goals lie:
`fixed`: start cell and goal cell; D4RL's umaze.
`play`: any cell and the goal cell.
`diverse`: any cell and any cell; D4RL chose the goal cells from a few.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from tqdm import tqdm

from samg_jax import checks
from samg_jax.collecting import ant_controller
from samg_jax.envs import antmaze, d4rl_physics, mazes
from samg_jax.training import seed_axis

LEVELS = ("fixed", "play", "diverse")
ACTION_NOISE = 0.2  # D4RL's value.


def default_level(env_id: str) -> str:
    """The level at which D4RL collected the data of an AntMaze task."""
    level = env_id.removesuffix("-v2").split("-")[-1]
    return level if level in LEVELS else "fixed"


def collect(
    env_id: str,
    physics: str,
    level: str,
    steps: int,
    seed: int,
    action_noise: float = ACTION_NOISE,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Collect rows, key -> `[steps, ...]`, and attributes that describe them.

    Args:
        env_id: One of D4RL's six AntMaze tasks.
        physics: "d4rl" or "stock".
        level: One of `LEVELS`.
        steps: The total number of rows; the last episode is cut off there.
        seed: The seed of starts, goals and noise.
        action_noise: The standard deviation of the noise on the actions.
    """
    maze = mazes.for_name(mazes.TASKS[env_id])
    # D4RL cuts an episode one row after the time limit.
    length = maze.max_episode_steps + 1
    env = d4rl_physics.make(
        env_id,
        physics,
        random_start=level != "fixed",
        terminate_on_success=False,
        max_episode_steps=length,
    )
    values = np.array([seed], np.uint32)
    count = -(-steps // length)
    env_seeds = seed_axis.host_seeds(values, "maze episodes", count)
    draws = seed_axis.host_seeds(values, "maze draws", count)
    episodes = []
    with tqdm(total=steps, unit="step", desc=level) as bar:
        for env_seed, draw in zip(env_seeds, draws, strict=True):
            rng = np.random.default_rng(draw)
            observation, info = env.reset(seed=env_seed)
            goal = _any_goal(maze, rng) if level == "diverse" else info["goal"]
            guide = ant_controller.Guide(maze, goal)
            rows = min(length, steps - bar.n)
            episodes.append(play(env, observation, guide, rows, rng, action_noise))
            bar.update(rows)
    task_seed = seed_axis.host_seeds(values, "maze task goal")[0]
    task_goal = env.reset(seed=task_seed)[1]["goal"]
    env.close()
    return label(episodes, task_goal), {
        "policy": "scripted trot along waypoints",
        "action_noise": action_noise,
        "task_goal": task_goal,
        **_describe(episodes, task_goal),
    }


def play(
    env: gymnasium.Env,
    observation: np.ndarray,
    guide: ant_controller.Guide,
    steps: int,
    rng: np.random.Generator,
    action_noise: float,
) -> dict[str, np.ndarray]:
    """Play an episode of the controller, key -> `[steps, ...]`, without rewards.

    Args:
        env: AntMaze after a reset.
        observation: `[29]`, the first observation.
        guide: The guide to the goal.
        steps: The number of rows after which the episode is cut off.
        rng: The generator that draws the noise.
        action_noise: The standard deviation of the noise.
    """
    observations, actions = [observation], []
    for time in range(steps):
        heading = guide.heading(observation[:2])
        action = ant_controller.walk(observation, heading, time)
        action = action + action_noise * rng.standard_normal(action.shape)
        actions.append(np.clip(action, -1.0, 1.0).astype(np.float32))
        observation = env.step(actions[-1])[0]
        observations.append(observation)
    states = np.array(observations, np.float32)
    return {
        "observations": states[:-1],
        "actions": np.array(actions),
        "timeouts": np.arange(steps) == steps - 1,
        "infos/goal": np.tile(np.float32(guide.goal), (steps, 1)),
        "infos/qpos": states[1:, :15],
        "infos/qvel": states[1:, 15:],
    }


def label(
    episodes: list[dict[str, np.ndarray]], goal: np.ndarray
) -> dict[str, np.ndarray]:
    """The rows of all episodes, with rewards and terminals for one goal.

    Args:
        episodes: The episodes from `play`.
        goal: `[2]`.
    """
    rows = {
        key: np.concatenate([episode[key] for episode in episodes])
        for key in episodes[0]
    }
    reached = antmaze.reaches(rows["infos/qpos"][:, :2], goal)
    if not reached.any():
        raise checks.UserError(
            f"None of the {len(reached)} rows reaches the goal at {goal.round(2)}, so "
            "there would be no reward to learn from. Collect more with steps=N, or "
            "others with seed=N."
        )
    return {
        **rows,
        "rewards": reached.astype(np.float32),
        "terminals": reached.astype(np.float32),
    }


def _any_goal(maze: mazes.Maze, rng: np.random.Generator) -> np.ndarray:
    """A goal `[2]` in any free cell, offset from its center like the task's."""
    cell = maze.free_cells[rng.integers(len(maze.free_cells))]
    return maze.centers(cell) + rng.uniform(0.0, 1.0, 2) + rng.uniform(0.0, 0.5, 2)


def _describe(
    episodes: list[dict[str, np.ndarray]], task_goal: np.ndarray
) -> dict[str, Any]:
    positions = [episode["infos/qpos"][:, :2] for episode in episodes]
    pursued = [episode["infos/goal"] for episode in episodes]
    pairs = zip(positions, pursued, strict=True)
    return {
        "episodes": len(episodes),
        "success_rate": np.mean([antmaze.reaches(*pair).any() for pair in pairs]),
        "task_success_rate": np.mean(
            [antmaze.reaches(xy, task_goal).any() for xy in positions]
        ),
    }
