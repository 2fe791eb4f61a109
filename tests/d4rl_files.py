"""Small files that look to a reader as D4RL's own fifteen do, key by key."""

import pathlib

import h5py
import numpy as np

from samg_jax.data import d4rl
from samg_jax.envs import tasks, vector

ROWS = 404
EPISODE = 21  # Rows of an episode that nothing else ends.
GOAL_RADIUS = 0.5


def write(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Writes a file of random actions under the name of D4RL's; returns its path."""
    path = folder / pathlib.PurePosixPath(d4rl.FILES[name].path).name
    rows = play(tasks.for_dataset(name).env_id)
    arrays = as_antmaze(rows) if name.startswith("antmaze") else as_locomotion(rows)
    if "medium-replay" in name:
        arrays = {
            key: array.astype(np.float64) if array.dtype == np.float32 else array
            for key, array in arrays.items()
        }
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, compression="gzip")
        if name.startswith("antmaze") or "expert" in name:
            return path
        file["metadata/algorithm"] = np.bytes_("SAC")
        file["metadata/iteration"] = np.int32(600)
        if "replay" not in name:
            size = arrays["observations"].shape[1]
            file["metadata/policy/fc0/weight"] = np.zeros((256, size), np.float32)
            file["metadata/policy/fc0/bias"] = np.zeros(256, np.float32)
            file["metadata/policy/nonlinearity"] = np.bytes_("relu")
            file["metadata/policy/output_distribution"] = np.bytes_("tanh_gaussian")
    return path


def play(env_id: str) -> dict[str, np.ndarray]:
    """Returns key -> `[ROWS, ...]`; an episode ends as the task says, or is cut."""
    env, rng = vector.make(env_id, 1, [0]), np.random.default_rng(0)
    observations, length, steps = env.reset(), 0, []
    for _ in range(ROWS):
        actions = rng.uniform(-1, 1, (1, env.action_size)).astype(np.float32)
        step, length = env.step(actions), length + 1
        cut = length == EPISODE and not step.terminals[0]
        after = step.next_observations[0]
        steps.append(
            (
                observations[0],
                actions[0],
                after,
                step.rewards[0],
                step.terminals[0],
                cut,
            )
        )
        observations = env.reset() if cut else step.observations
        length = 0 if cut or step.terminals[0] else length
    env.close()
    names = ("observations", "actions", "next_observations", "rewards", "terminals")
    columns = zip(*steps, strict=True)
    return {
        key: np.array(column)
        for key, column in zip((*names, "timeouts"), columns, strict=True)
    }


def as_locomotion(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of a locomotion file; what nobody reads is made up."""
    half = (rows["observations"].shape[1] + 1) // 2
    return {
        **rows,
        "infos/action_log_probs": np.zeros(ROWS, np.float32),
        "infos/qpos": np.zeros((ROWS, half), np.float32),
        "infos/qvel": np.zeros((ROWS, half), np.float32),
    }


def as_antmaze(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of an AntMaze file, labeled anew as D4RL did.

    The goal lies on the ant's way and does not end an episode, so rewards and terminals
    of 1 come in runs.
    """
    rows = dict(rows)
    del rows["next_observations"]
    places = rows["observations"][:, :2]
    following = np.concatenate([places[1:], places[-1:]])
    x, y = np.quantile(places[:, 0], 0.9), np.median(places[:, 1])
    goal = np.array([x + GOAL_RADIUS, y])
    success = np.linalg.norm(following - goal, axis=1) <= GOAL_RADIUS
    return {
        **rows,
        "rewards": success.astype(np.float32),
        "terminals": success.astype(np.float32),
        "infos/goal": np.tile(goal + 1.0, (ROWS, 1)).astype(np.float32),
        "infos/qpos": rows["observations"][:, :15],
        "infos/qvel": rows["observations"][:, 15:],
    }
