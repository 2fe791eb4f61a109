"""A task whose observations have parts and whose actions have bounds of their own."""

import gymnasium
import numpy as np

ENV_ID = "MinariLine-v0"
LIMIT = 6
LOW, HIGH = np.float32([-2.0, 0.0]), np.float32([0.5, 3.0])


class Line(gymnasium.Env):
    """A walk on a line that falls off at the right; its observations have parts."""

    # Not in the order of the alphabet, on purpose.
    observation_space = gymnasium.spaces.Dict(
        [
            ("where", gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float64)),
            (
                "more",
                gymnasium.spaces.Dict(
                    [
                        ("time", gymnasium.spaces.Box(0.0, 9.0, (1, 2), np.float64)),
                        ("last", gymnasium.spaces.Box(-9.0, 9.0, (2,), np.float64)),
                    ]
                ),
            ),
        ]
    )
    action_space = gymnasium.spaces.Box(LOW, HIGH)

    def __init__(self, slope=0.3):
        self.slope = slope

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.where, self.time = self.np_random.uniform(-1, 0), 0
        self.last = np.zeros(2)
        return self.observation(), {}

    def observation(self):
        return {
            "where": np.array([self.where]),
            "more": {"time": np.array([[self.time, 1.0]]), "last": self.last},
        }

    def step(self, action):
        self.last = np.asarray(action, np.float64)
        self.where += self.slope * float(action.sum())
        self.time += 1
        return self.observation(), self.where, self.where > 1.0, False, {}
