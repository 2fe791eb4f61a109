"""AntMaze: D4RL's task (Fu et al., 2020), as one environment and as a batch of ants.

An ant walks through a maze to a goal that it does not see. Only the goal is rewarded.
The ant is gymnasium's with the three edits that turn it into D4RL's.

Deviation: the environment's own generator draws start, goal and their noise, so a seed
fixes them. D4RL draws goals from NumPy's global generator.
"""

import pathlib
from xml.etree import ElementTree

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import mujoco_env

from samg_jax.envs import d4rl_physics, mazes, simulation, tasks

FRAME_SKIP = 5
MAX_TORQUE = 30.0
GOAL_RADIUS = 0.5
_WALL_HEIGHT = 2.0
_NOISE = 0.1  # Half-width for positions, standard deviation for velocities.


def build_model(maze: mazes.Maze) -> mujoco.MjModel:
    """Build D4RL's ant among the walls of a maze, with the simulator's own inertia.

    The simulator's step is twice gymnasium's, contacts are softer, and torques are at
    most 30 instead of 150.
    """
    root = ElementTree.parse(_ant_file()).getroot()
    root.find("option").set("timestep", "0.02")
    root.find("default/geom").attrib.update(solref=".02 1", solimp=".8 .8 .01")
    for motor in root.iter("motor"):
        motor.attrib.update(ctrlrange=f"-{MAX_TORQUE} {MAX_TORQUE}", gear="1")
    half = mazes.CELL / 2.0
    for x, y in maze.centers(maze.walls):
        ElementTree.SubElement(
            root.find("worldbody"),
            "geom",
            type="box",
            pos=f"{x} {y} {_WALL_HEIGHT / 2.0}",
            size=f"{half} {half} {_WALL_HEIGHT / 2.0}",
            contype="1",
            conaffinity="1",
            rgba="0.6 0.6 0.7 1",
        )
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, "unicode"))


def draw_start(
    maze: mazes.Maze, rng: np.random.Generator, qpos: np.ndarray, random_start: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw positions `[15]`, velocities `[14]` and goal `[2]` of a new episode.

    Args:
        maze: The maze.
        rng: The generator that draws all of them.
        qpos: `[15]`, the model's own positions.
        random_start: Whether the start is random; see `AntMazeEnv`.
    """
    qpos = qpos + rng.uniform(-_NOISE, _NOISE, 15)
    qvel = _NOISE * rng.standard_normal(14)
    if random_start:
        cell = maze.start_cells[rng.integers(len(maze.start_cells))]
        qpos[:2] = maze.centers(cell) + rng.uniform(0.0, 1.0, 2)
    goal = maze.goal + rng.uniform(0.0, 1.0, 2) + rng.uniform(0.0, 0.5, 2)
    return qpos, qvel, np.maximum(goal, 0.0)


def reaches(positions: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Whether ants at `positions`, `[..., 2]`, have reached `goals`, `[..., 2]`."""
    x, y = np.moveaxis(positions - goals, -1, 0)
    return np.sqrt(x * x + y * y) <= GOAL_RADIUS


class AntMazeEnv(mujoco_env.MujocoEnv, gymnasium.utils.EzPickle):
    """D4RL's AntMaze, `v2`: a new goal at every reset.

    Observations `[29]` float64: positions (15: x, y, z, quaternion, joints) and
    velocities (14), without the goal. Actions `[8]` in [-1, 1], times 30 the torques.
    The reward is 1 within 0.5 m of the goal, else 0. `info` contains the goal, and
    after a step whether it is reached. The physics is the installed simulator's; see
    `d4rl_physics.make`.

    Args:
        maze: A name in `mazes.MAZES`.
        random_start: Whether to start in any of the maze's `start_cells`, at the center
            plus U(0, 1) along x and y, as D4RL did for its `play` and `diverse` data.
        terminate_on_success: Whether the episode ends at the goal. D4RL collected its
            data without this.
        **kwargs: Arguments of `MujocoEnv`, such as render_mode, width, height,
            camera_name.

    Attributes:
        goal: `[2]` float64, x and y; the goal cell's center before the first reset.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 10,
        "sparse_rewards": True,
    }

    def __init__(
        self,
        maze: str = "umaze",
        random_start: bool = False,
        terminate_on_success: bool = True,
        **kwargs: object,
    ):
        gymnasium.utils.EzPickle.__init__(
            self, maze, random_start, terminate_on_success, **kwargs
        )
        self._maze = mazes.for_name(maze)
        self._random_start = random_start
        self._terminate_on_success = terminate_on_success
        self.goal = self._maze.goal
        if "camera_name" not in kwargs:
            kwargs.setdefault("camera_id", -1)  # A free camera uses the config below.
        kwargs.setdefault("default_camera_config", _overview(self._maze))
        super().__init__(
            str(_ant_file()),
            FRAME_SKIP,
            gymnasium.spaces.Box(-np.inf, np.inf, (29,), np.float64),
            **kwargs,
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (8,), np.float32)

    def step(
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        torques = MAX_TORQUE * np.asarray(action, np.float64)
        self.do_simulation(np.clip(torques, -MAX_TORQUE, MAX_TORQUE), self.frame_skip)
        success = bool(reaches(self.data.qpos[:2], self.goal))
        if self.render_mode == "human":
            self.render()
        terminal = success and self._terminate_on_success
        info = {**self._get_reset_info(), "success": success}
        return self.state_vector(), float(success), terminal, False, info

    def reset_model(self) -> np.ndarray:
        qpos, qvel, self.goal = draw_start(
            self._maze, self.np_random, self.init_qpos, self._random_start
        )
        self.set_state(qpos, qvel)
        return self.state_vector()

    def _get_reset_info(self) -> dict[str, np.ndarray]:
        return {"goal": self.goal.copy()}

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = build_model(self._maze)
        buffer = model.vis.global_
        buffer.offwidth = max(buffer.offwidth, self.width)
        buffer.offheight = max(buffer.offheight, self.height)
        return model, mujoco.MjData(model)


class Simulators:
    """A batch of ants; the members are those that `VectorEnv` requires.

    Every number equals that of `AntMazeEnv`, bit for bit.

    Args:
        env_id: A key of `mazes.TASKS`.
        num_envs: The number n of ants.
        physics_name: "d4rl" or "stock".
        threads: The number of threads that step the ants.
        random_start: As in `AntMazeEnv`.
        terminate_on_success: As in `AntMazeEnv`.

    Attributes:
        action_low: `[8]` float64.
        action_high: `[8]` float64.
        state_names: the arrays of `get_state`.
    """

    state_names: tuple[str, ...] = (*simulation.Batch.state_names, "goals")

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        physics_name: str,
        threads: int,
        random_start: bool = False,
        terminate_on_success: bool = True,
    ):
        env = d4rl_physics.make(env_id, physics_name)
        model = env.unwrapped.model
        env.close()
        self._batch = simulation.Batch(model, num_envs, FRAME_SKIP, threads)
        self._maze = mazes.for_name(mazes.TASKS[tasks.canonical_id(env_id)])
        self._qpos = model.qpos0.copy()
        self._random_start = random_start
        self._terminate_on_success = terminate_on_success
        self._goals = np.zeros((num_envs, 2))
        self.action_low, self.action_high = -np.ones(8), np.ones(8)

    def step(
        self, actions: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Step the ants; returns observations, rewards, terminals and truncations.

        Args:
            actions: `[n, 8]` float64 within the bounds.
            active: `[n]` bool; ants that are not active stand still.
        """
        self._batch.step(MAX_TORQUE * actions, active)
        qpos, qvel = np.array(self._batch.qpos), np.array(self._batch.qvel)
        success = reaches(qpos[:, :2], self._goals)
        none = np.zeros_like(success)
        terminals = success if self._terminate_on_success else none
        observations = np.concatenate([qpos, qvel], axis=1)
        return observations, success.astype(np.float64), terminals, none

    def reset(self, index: int, seed: int | None) -> np.ndarray:
        """Start a new episode of ant `index`; returns its first observation `[29]`.

        Args:
            index: The index of the ant.
            seed: A seed that restarts its random numbers; None continues them.
        """
        rng = self._batch.rng(index, seed)
        qpos, qvel, self._goals[index] = draw_start(
            self._maze, rng, self._qpos, self._random_start
        )
        self._batch.start(index, qpos, qvel)
        return np.concatenate([qpos, qvel])

    def get_state(self) -> dict[str, np.ndarray]:
        """The arrays of `simulation.Batch.get_state`, and `goals`, `[n, 2]`."""
        return {**self._batch.get_state(), "goals": self._goals.copy()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continues exactly where `get_state` was called."""
        self._batch.set_state(state)
        self._goals = np.array(state["goals"], np.float64)

    def close(self) -> None:
        """Ends the threads."""
        self._batch.close()


def _ant_file() -> pathlib.Path:
    return pathlib.Path(mujoco_env.__file__).parent / "assets" / "ant.xml"


def _overview(maze: mazes.Maze) -> dict[str, object]:
    """A camera above the maze that sees all of it."""
    return {
        "lookat": np.array([*maze.bounds.mean(axis=0), 0.0]),
        "distance": 1.4 * float(np.ptp(maze.bounds, axis=0).max()),
        "azimuth": 90.0,
        "elevation": -75.0,
    }
