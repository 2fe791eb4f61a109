"""Random data with the shapes of a task: speed does not depend on their values."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np

from samg_jax.envs import tasks

EPISODE = 1_000  # The number of steps if the task has no time limit.
SUCCESSES = 0.01  # The share of rewarded rows if only the goal is rewarded.


def file(folder: pathlib.Path, task: tasks.Task, rows: int) -> pathlib.Path:
    """Write a D4RL-format file that the trainer accepts, unless it exists.

    Args:
        folder: The folder of the file.
        task: The task, which defines sizes, time limit and kind of rewards.
        rows: The number of rows, at least 2.
    """
    path = folder / f"{task.env_id}_{rows}.hdf5"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    rewards, terminals = rng.normal(size=rows), np.zeros(rows, bool)
    if task.sparse:
        terminals = rng.uniform(size=rows) < SUCCESSES
        terminals[0] = True
        rewards = terminals.astype(np.float64)
    ends = np.arange(1, rows + 1) % (task.max_episode_steps or EPISODE) == 0
    columns = {
        "observations": rng.normal(size=(rows, task.observation_size)),
        "actions": rng.uniform(-1, 1, (rows, task.action_size)),
        "rewards": rewards,
    }
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values.astype(np.float32)
        file["terminals"] = terminals
        file["timeouts"] = ends & ~terminals
    return path
