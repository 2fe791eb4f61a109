"""HalfCheetah, Hopper and Walker2d, many robots stepped at once.

Each robot keeps its own simulator data, slices of robots run on threads (the simulator
releases the interpreter lock), and observations, rewards and ends are computed for all
robots in NumPy. Every number equals that of the gymnasium `-v4` environment, bit for
bit, if that is given the same float64 actions.
"""

import dataclasses
from collections.abc import Callable
from concurrent import futures

import gymnasium
import mujoco
import numpy as np

from samg_jax.envs import physics

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_WORD = 2**64


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
    """What the three tasks differ in.

    Attributes:
        frame_skip: simulator steps per environment step.
        control_cost: factor of the squared actions in the reward.
        healthy_reward: paid each step, the falling one included.
        max_speed: velocities are clipped to this in observations.
        noise: half width of the uniform noise on positions at reset.
        normal_speeds: whether velocities at reset are normal instead of uniform.
        stands: `[n, nq]`, `[n, nv]` -> `[n]` bool; the episode ends where False.
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
    """A batch of one robot; the members are those that `VectorEnv` asks for.

    Attributes:
        action_low: `[A]` float64.
        action_high: `[A]` float64.
        state_names: the arrays of `get_state`.
    """

    state_names = ("simulator", "rng")

    def __init__(self, env_id: str, num_envs: int, physics_name: str, threads: int):
        env = physics.make(env_id, physics_name)
        self._model = env.unwrapped.model
        env.close()
        self._robot = ROBOTS[physics.resolve(env_id, physics_name)]
        self._data = [mujoco.MjData(self._model) for _ in range(num_envs)]
        # Views into the simulators' memory: they always show the present.
        self._qpos = [data.qpos for data in self._data]
        self._qvel = [data.qvel for data in self._data]
        self._ctrl = [data.ctrl for data in self._data]
        self._seconds = self._model.opt.timestep * self._robot.frame_skip
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._slices = [
            part.tolist() for part in np.array_split(np.arange(num_envs), threads)
        ]
        self._pool = futures.ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self.action_low, self.action_high = self._model.actuator_ctrlrange.T.copy()

    def step(
        self, actions: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns observations, rewards, terminals and truncations, float64 and bool.

        Args:
            actions: `[n, A]` float64 within the bounds.
            active: `[n]` bool; the others stand still.
        """
        before = np.array([qpos.item(0) for qpos in self._qpos])
        waiting = [
            self._pool.submit(self._simulate, part, actions, active)
            for part in self._slices[1:]
        ]
        self._simulate(self._slices[0], actions, active)
        for part in waiting:
            part.result()
        qpos, qvel = np.array(self._qpos), np.array(self._qvel)
        robot = self._robot
        speeds = (qpos[:, 0] - before) / self._seconds
        costs = robot.control_cost * np.sum(np.square(actions), axis=1)
        rewards = speeds + robot.healthy_reward - costs
        terminals = ~robot.stands(qpos, qvel)
        return self._observe(qpos, qvel), rewards, terminals, np.zeros_like(terminals)

    def reset(self, index: int, seed: int | None) -> np.ndarray:
        """Returns the first observation `[O]` of a new episode of robot `index`.

        Args:
            index: which robot.
            seed: restarts its random numbers, None goes on with them.
        """
        if seed is not None:
            self._rngs[index], _ = gymnasium.utils.seeding.np_random(seed)
        rng, data = self._rngs[index], self._data[index]
        scale = self._robot.noise
        mujoco.mj_resetData(self._model, data)
        data.qpos[:] += rng.uniform(-scale, scale, self._model.nq)
        if self._robot.normal_speeds:
            data.qvel[:] += scale * rng.standard_normal(self._model.nv)
        else:
            data.qvel[:] += rng.uniform(-scale, scale, self._model.nv)
        mujoco.mj_forward(self._model, data)  # Also the solver's first guess.
        return self._observe(data.qpos[None], data.qvel[None])[0]

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns `simulator` `[n, state]` float64 and `rng` `[n, 6]` uint64."""
        size = mujoco.mj_stateSize(self._model, _STATE)
        simulator = np.empty((len(self._data), size))
        for row, data in zip(simulator, self._data, strict=True):
            mujoco.mj_getState(self._model, data, row, _STATE)
        return {
            "simulator": simulator,
            "rng": np.stack([_pack_rng(rng) for rng in self._rngs]),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continues exactly where `get_state` was called."""
        for index, data in enumerate(self._data):
            mujoco.mj_resetData(self._model, data)
            mujoco.mj_setState(self._model, data, state["simulator"][index], _STATE)
            self._rngs[index] = _unpack_rng(state["rng"][index])

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _simulate(
        self, part: list[int], actions: np.ndarray, active: np.ndarray
    ) -> None:
        model, frame_skip = self._model, self._robot.frame_skip
        for index in part:
            if active[index]:
                self._ctrl[index][:] = actions[index]
                mujoco.mj_step(model, self._data[index], nstep=frame_skip)

    def _observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        limit = self._robot.max_speed
        speeds = np.minimum(np.maximum(qvel, -limit), limit)
        return np.concatenate([qpos[:, 1:], speeds], axis=1)


def _pack_rng(rng: np.random.Generator) -> np.ndarray:
    """Returns the state of a PCG64 generator as `[6]` uint64."""
    state = rng.bit_generator.state
    numbers = (state["state"]["state"], state["state"]["inc"])
    words = [word for number in numbers for word in divmod(number, _WORD)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def _unpack_rng(words: np.ndarray) -> np.random.Generator:
    state_high, state_low, inc_high, inc_low, has_uint32, uinteger = map(int, words)
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {
            "state": state_high * _WORD + state_low,
            "inc": inc_high * _WORD + inc_low,
        },
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)
