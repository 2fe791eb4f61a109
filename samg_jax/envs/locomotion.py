"""HalfCheetah, Hopper and Walker2d, many robots stepped at once.

NumPy computes observations, rewards and ends of all robots. Every number equals that of
the gymnasium `-v4` environment, bit for bit, for the same float64 actions.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from samg_jax.envs import d4rl_physics, simulation


def _always(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    del qvel
    return np.ones(len(qpos), bool)


def _hopper_stands(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    moderate = (np.abs(qpos[:, 2:]) < 100.0).all(1) & (np.abs(qvel) < 100.0).all(1)
    height, angle = qpos[:, 1], qpos[:, 2]
    return moderate & (height > 0.7) & (height < np.inf) & (np.abs(angle) < 0.2)


def _walker_stands(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    del qvel
    height, angle = qpos[:, 1], qpos[:, 2]
    return (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)


@dataclasses.dataclass(frozen=True)
class Robot:
    """The differences between the three tasks.

    Attributes:
        frame_skip: the number of simulator steps per environment step.
        control_cost: the factor on the squared actions in the reward.
        healthy_reward: the reward of every step, including the one that falls.
        max_speed: the bound to which velocities are clipped in observations.
        noise: the half-width of the uniform noise on positions at a reset.
        normal_speeds: whether velocities at a reset are normal instead of uniform.
        stands: a function `[n, nq]`, `[n, nv]` -> `[n]` bool; False ends the episode.
    """

    frame_skip: int
    control_cost: float
    healthy_reward: float
    max_speed: float
    noise: float
    normal_speeds: bool
    stands: Callable[[np.ndarray, np.ndarray], np.ndarray]


ROBOTS = {
    "HalfCheetah-v4": Robot(5, 0.1, 0.0, np.inf, 0.1, True, _always),
    "Hopper-v4": Robot(4, 1e-3, 1.0, 10.0, 5e-3, False, _hopper_stands),
    "Walker2d-v4": Robot(4, 1e-3, 1.0, 10.0, 5e-3, False, _walker_stands),
}


class Simulators:
    """A batch of one robot; the members are those that `VectorEnv` requires.

    Attributes:
        action_low: `[A]` float64.
        action_high: `[A]` float64.
        state_names: the arrays of `get_state`.
    """

    state_names: tuple[str, ...] = simulation.Batch.state_names

    def __init__(self, env_id: str, num_envs: int, physics_name: str, threads: int):
        env = d4rl_physics.make(env_id, physics_name)
        self._model = env.unwrapped.model
        env.close()
        self._robot = ROBOTS[d4rl_physics.resolve(env_id, physics_name)]
        frame_skip = self._robot.frame_skip
        self._batch = simulation.Batch(self._model, num_envs, frame_skip, threads)
        self._seconds = self._model.opt.timestep * frame_skip
        self.action_low, self.action_high = self._model.actuator_ctrlrange.T.copy()

    def step(
        self, actions: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Step the robots; returns observations, rewards, terminals and truncations.

        Args:
            actions: `[n, A]` float64 within the bounds.
            active: `[n]` bool; robots that are not active stand still.
        """
        batch, robot = self._batch, self._robot
        before = np.array([qpos.item(0) for qpos in batch.qpos])
        batch.step(actions, active)
        qpos, qvel = np.array(batch.qpos), np.array(batch.qvel)
        speeds = (qpos[:, 0] - before) / self._seconds
        costs = robot.control_cost * np.sum(np.square(actions), axis=1)
        rewards = speeds + robot.healthy_reward - costs
        terminals = ~robot.stands(qpos, qvel)
        return self._observe(qpos, qvel), rewards, terminals, np.zeros_like(terminals)

    def reset(self, index: int, seed: int | None) -> np.ndarray:
        """Start a new episode of robot `index`; returns its first observation `[O]`.

        Args:
            index: The index of the robot.
            seed: A seed that restarts its random numbers; None continues them.
        """
        rng, scale = self._batch.rng(index, seed), self._robot.noise
        qpos = self._model.qpos0 + rng.uniform(-scale, scale, self._model.nq)
        if self._robot.normal_speeds:
            qvel = scale * rng.standard_normal(self._model.nv)
        else:
            qvel = rng.uniform(-scale, scale, self._model.nv)
        self._batch.start(index, qpos, qvel)
        return self._observe(qpos[None], qvel[None])[0]

    def get_state(self) -> dict[str, np.ndarray]:
        """The arrays of `simulation.Batch.get_state`."""
        return self._batch.get_state()

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continues exactly where `get_state` was called."""
        self._batch.set_state(state)

    def close(self) -> None:
        """Ends the threads."""
        self._batch.close()

    def _observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        limit = self._robot.max_speed
        speeds = np.minimum(np.maximum(qvel, -limit), limit)
        return np.concatenate([qpos[:, 1:], speeds], axis=1)
