"""Environments: named tasks, D4RL's physics, and batches stepped as one.

Importing this registers D4RL's six AntMaze tasks with gymnasium.
"""

import gymnasium

from samg_jax.envs import mazes

for _env_id, _maze in mazes.TASKS.items():
    gymnasium.register(
        _env_id,
        entry_point="samg_jax.envs.antmaze:AntMazeEnv",
        max_episode_steps=mazes.MAZES[_maze].max_episode_steps,
        kwargs={"maze": _maze},
    )
