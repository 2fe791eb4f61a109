"""A task that rewards its goal alone, small enough for tests."""

import contextlib

import gymnasium
import h5py
import numpy as np

ENV_ID = "SparseWalk-v0"
LIMIT = 7


class Walk(gymnasium.Env):
    """A walk on a line; the goal is its right part, and both ends are terminal.

    So an episode may reach the goal and leave it again, and it may fail by falling off
    at the left or by the time limit.
    """

    metadata = {"render_modes": [], "sparse_rewards": True}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-2.0, 2.0, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-0.5, 0.3))
        self.time = 0
        return self.observation(), {}

    def observation(self):
        return np.array([self.place, self.time / LIMIT], np.float32)

    def step(self, action):
        self.place += 0.4 * float(action[0]) + 0.1 * float(self.np_random.normal())
        self.time += 1
        reward = float(self.place > 0.4)
        return self.observation(), reward, abs(self.place) > 0.8, False, {}


@contextlib.contextmanager
def registered():
    """Makes the task known to gymnasium for the time of a block."""
    gymnasium.register(ENV_ID, Walk, max_episode_steps=LIMIT)
    try:
        yield
    finally:
        del gymnasium.registry[ENV_ID]


def write_dataset(path, episodes=60):
    """Writes a D4RL-format file of random actions; returns its path."""
    env, rng, rows = gymnasium.make(ENV_ID), np.random.default_rng(0), []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        ended = False
        while not ended:
            action = rng.uniform(-1, 1, 1).astype(np.float32)
            after, reward, terminal, cut, _ = env.step(action)
            rows.append((observation, action, reward, terminal, cut and not terminal))
            observation, ended = after, terminal or cut
    keys = ("observations", "actions", "rewards", "terminals", "timeouts")
    with h5py.File(path, "w") as file:
        for key, values in zip(keys, zip(*rows, strict=True), strict=True):
            file[key] = np.array(values)
    return path


def episodes(rewards, masks, observations, next_observations):
    """Returns the finished episodes of a stream, as lists of its rows.

    An episode is over at a terminal, or where the next row does not begin where this
    one ended; the last row's is not finished unless it is a terminal.
    """
    result, rows = [], []
    for row in range(len(rewards)):
        rows.append(row)
        last = row + 1 == len(rewards)
        jumps = not last and (observations[row + 1] != next_observations[row]).any()
        if masks[row] == 0 or jumps or len(rows) == LIMIT:
            result.append(rows)
            rows = []
    return result
