import importlib.metadata
import os
import pathlib
import pickle
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils import env_checker

import samg_jax
from samg_jax.envs import antmaze, d4rl_physics, mazes, tasks, vector

UMAZE = "antmaze-umaze-v2"
# Of the goal, over all resets.
GOALS = {
    UMAZE: ([0, 8], [1.5, 9.5]),
    "antmaze-medium-play-v2": ([20, 20], [21.5, 21.5]),
    "antmaze-large-diverse-v2": ([32, 24], [33.5, 25.5]),
}
RENDER = """
import sys
try:
    import mujoco
    context = mujoco.GLContext(64, 64)
except Exception as error:
    sys.exit(f"NO GL: {error}")
import gymnasium
import numpy as np
from gymnasium.utils import env_checker
import samg_jax.envs
env = gymnasium.make("antmaze-umaze-v2", render_mode="rgb_array", width=96, height=64)
env.reset(seed=0)
start = env.render()
for _ in range(20):
    env.step(env.action_space.sample())
np.savez(sys.argv[1], start=start, later=env.render())
env.close()
checked = gymnasium.make("antmaze-umaze-v2", render_mode="rgb_array").unwrapped
modes = [mode for mode in checked.metadata["render_modes"] if mode != "human"]
checked.metadata = {**checked.metadata, "render_modes": modes}  # No display here.
env_checker.check_env(checked)
context.free()
"""


@pytest.fixture
def env():
    return gymnasium.make(UMAZE).unwrapped


def put(env, xy, qpos=None):
    """Lays the ant down at rest."""
    qpos = env.init_qpos.copy() if qpos is None else qpos
    qpos[:2] = xy
    env.set_state(qpos, np.zeros(14))


def arrays(model):
    """Returns the arrays of a model that are neither names nor appearance."""
    others = ("_", "name", "tex", "mat", "cam")
    values = {
        name: getattr(model, name)
        for name in dir(model)
        if not name.startswith(others) and not name.endswith("rgba")
    }
    return {k: v for k, v in values.items() if isinstance(v, np.ndarray)}


def test_the_ant_is_that_of_the_d4rl_package():
    try:
        files = importlib.metadata.files("d4rl")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("d4rl is not installed")
    file = next(f for f in files if str(f).endswith("locomotion/assets/ant.xml"))
    expected = mujoco.MjModel.from_xml_path(str(file.locate()))
    actual = antmaze.build_model(mazes.Maze(("RG",), 1))
    assert actual.opt.timestep == expected.opt.timestep == 0.02
    assert actual.opt.integrator == expected.opt.integrator
    expected, actual = arrays(expected), arrays(actual)
    assert len(actual) > 200
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, name)


def test_the_ant_differs_from_gymnasiums_in_step_contacts_and_motors(env):
    model, stock = env.model, tasks.make_gymnasium("Ant-v4").unwrapped.model
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
    assert (model.opt.timestep, stock.opt.timestep) == (0.02, 0.01)
    assert (env.frame_skip, env.dt) == (5, 0.1)
    np.testing.assert_array_equal(model.geom_solref, [[0.02, 1.0]] * model.ngeom)
    np.testing.assert_array_equal(model.geom_solimp[:, :3], [[0.8, 0.8, 0.01]] * 32)
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-30.0, 30.0]] * 8)
    np.testing.assert_array_equal(model.actuator_gear[:, 0], 1.0)
    np.testing.assert_array_equal(stock.actuator_gear[:, 0], 150.0)
    np.testing.assert_array_equal(model.body_mass, stock.body_mass)


def test_joints_and_motors_have_d4rls_order(env):
    model = env.model
    joints = [model.joint(index).name for index in range(1, model.njnt)]
    motors = [model.joint(index).name for index in model.actuator_trnid[:, 0]]
    legs = [(f"hip_{leg}", f"ankle_{leg}") for leg in (1, 2, 3, 4)]
    assert joints == [*legs[0], *legs[1], *legs[2], *legs[3]]
    assert motors == [*legs[3], *legs[0], *legs[1], *legs[2]]


@pytest.mark.parametrize("name", list(mazes.MAZES))
def test_every_wall_is_a_box_that_the_ant_collides_with(name):
    model, maze = antmaze.build_model(mazes.MAZES[name]), mazes.MAZES[name]
    walls = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_BOX)
    assert len(walls) == {"umaze": 18, "medium": 38, "large": 62}[name]
    np.testing.assert_array_equal(model.geom_bodyid[walls], 0)
    np.testing.assert_array_equal(model.geom_size[walls], [[2, 2, 1]] * len(walls))
    np.testing.assert_array_equal(model.geom_pos[walls, 2], 1.0)
    np.testing.assert_array_equal(model.geom_margin, 0.01)
    for field in (model.geom_contype, model.geom_conaffinity):
        np.testing.assert_array_equal(field[walls], 1)
    places = maze.cells(model.geom_pos[walls, :2]).tolist()
    assert [maze.rows[row][column] for row, column in places] == ["1"] * len(walls)


def test_the_ant_does_not_pass_through_a_wall(env):
    env.reset(seed=0)
    for xy, speed in [((-1.0, 0.0), -8.0), ((1.0, 0.0), 8.0)]:
        put(env, xy)
        env.data.qvel[0] = speed
        for _ in range(10):
            env.step(np.zeros(8))
        travelled = (env.data.qpos[0] - xy[0]) / np.sign(speed)
        # To the west is a wall a meter away, to the east a free cell.
        assert travelled < 1.0 if speed < 0 else travelled > 2.0


@pytest.mark.parametrize("env_id", list(GOALS))
def test_resets_are_noisy_as_d4rls(env_id):
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=0)
    qpos, qvel, goals = [], [], []
    for _ in range(400):
        observation, info = env.reset()
        qpos.append(observation[:15])
        qvel.append(observation[15:])
        goals.append(info["goal"])
    noise = np.array(qpos) - [0, 0, 0.75, 1, *[0] * 11]
    assert np.abs(noise).max() <= 0.1
    np.testing.assert_allclose(noise.std(axis=0), 0.1 / np.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(np.std(qvel, axis=0), 0.1, rtol=0.15)
    assert np.max(np.abs(qvel)) > 0.3
    low, high = GOALS[env_id]
    goals = np.array(goals)
    assert (goals >= low).all()
    assert (goals <= high).all()
    assert len(np.unique(goals[:, 0])) == 400
    # The sum of U(0, 1) and U(0, 0.5).
    np.testing.assert_allclose(goals.mean(axis=0) - low, 0.75, atol=0.06)
    np.testing.assert_allclose(goals.std(axis=0), np.sqrt(1.25 / 12), rtol=0.1)
    assert np.abs(np.corrcoef(goals.T)[0, 1]) < 0.15


def test_a_seed_fixes_start_and_goal(env):
    first, info = env.reset(seed=3)
    env.reset()
    np.random.seed(0)  # noqa: NPY002 (it is the one that D4RL draws goals from)
    second, again = env.reset(seed=3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(info["goal"], again["goal"])


def test_observations_are_positions_and_velocities_without_the_goal(env):
    observation, _ = env.reset(seed=0)
    assert (observation.shape, observation.dtype) == ((29,), np.float64)
    put(env, (3.0, -1.0))
    env.goal = np.array([20.0, 20.0])
    observation, *_ = env.step(np.full(8, 0.3, np.float32))
    np.testing.assert_array_equal(observation[:15], env.data.qpos)
    np.testing.assert_array_equal(observation[15:], env.data.qvel)


def test_actions_are_scaled_to_torques_and_clipped(env):
    env.reset(seed=0)
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (8,), np.float32)
    env.step(np.array([0.5, -1, 1, 0, -0.25, 0.1, 3, -7]))
    expected = [15, -30, 30, 0, -7.5, 3, 30, -30]
    np.testing.assert_allclose(env.data.ctrl, expected, rtol=1e-15)


@pytest.mark.parametrize("terminate", [True, False])
def test_the_reward_is_1_within_half_a_metre_of_the_goal(terminate):
    env = gymnasium.make(UMAZE, terminate_on_success=terminate).unwrapped
    env.reset(seed=0)
    rng, distances = np.random.default_rng(0), []
    for _ in range(100):
        put(env, env.goal + rng.uniform(-0.7, 0.7, 2))
        observation, reward, terminal, truncated, info = env.step(rng.uniform(-1, 1, 8))
        distance = np.hypot(*(observation[:2] - env.goal))
        assert reward == info["success"] == (distance <= 0.5)
        assert terminal == (terminate and distance <= 0.5)
        assert not truncated
        distances.append(distance)
    assert 20 < np.sum(np.array(distances) <= 0.5) < 80


def test_an_ant_on_its_back_goes_on(env):
    env.reset(seed=0)
    qpos = env.init_qpos.copy()
    qpos[2:7] = 0.4, 0, 1, 0, 0
    put(env, (0.0, 0.0), qpos)
    for _ in range(30):
        _, _, terminal, truncated, _ = env.step(np.zeros(8))
        assert not terminal
        assert not truncated
    assert env.data.body("torso").xmat[8] < 0


@pytest.mark.parametrize("env_id", list(mazes.TASKS))
def test_every_d4rl_name_makes_its_maze_with_its_time_limit(env_id):
    env = gymnasium.make(env_id)
    walls = {"umaze": 18, "medium": 38, "large": 62}[env_id.split("-")[1]]
    assert env.unwrapped.model.ngeom == 14 + walls
    limit = 700 if "umaze" in env_id else 1000
    assert env.spec.max_episode_steps == limit
    task = tasks.for_dataset(env_id)
    assert task == tasks.for_env_id(env_id.removesuffix("-v2"))
    assert task == tasks.Task(env_id, 29, 8, limit, 0.0, 1.0, sparse=True)


def test_an_episode_without_success_is_truncated_at_the_cap():
    env = vector.make(UMAZE, 2, [0, 1])
    returns, lengths = vector.rollout(env, lambda _: np.zeros((2, 8)))
    np.testing.assert_array_equal(lengths, 700)
    np.testing.assert_array_equal(returns, 0.0)


def test_random_starts_reach_every_cell_but_the_goal():
    env = gymnasium.make("antmaze-medium-play-v2", random_start=True).unwrapped
    env.reset(seed=0)
    starts = np.array([env.reset()[0][:2] for _ in range(500)])
    maze = mazes.MAZES["medium"]
    cells = maze.cells(starts)
    free = {
        (row, column)
        for row, line in enumerate(maze.rows)
        for column, cell in enumerate(line)
        if cell in "0R"
    }
    assert {tuple(cell) for cell in cells.tolist()} == free
    offsets = starts - maze.centers(cells)
    assert offsets.min() >= 0
    assert offsets.max() <= 1
    np.testing.assert_allclose(offsets.mean(axis=0), 0.5, atol=0.05)


@pytest.mark.filterwarnings("ignore:.*(minimum|maximum) value is:UserWarning")
@pytest.mark.parametrize("options", [{}, {"random_start": True}])
def test_gymnasiums_checker_is_content(options):
    env = gymnasium.make("antmaze-large-play-v2", **options)
    env_checker.check_env(env.unwrapped, skip_render_check=True)


def test_an_environment_that_is_pickled_keeps_its_options():
    env = antmaze.AntMazeEnv("medium", random_start=True)
    copy = pickle.loads(pickle.dumps(env))
    for one in (env, copy):
        assert one.model.ngeom == 14 + 38
    np.testing.assert_array_equal(env.reset(seed=5)[0], copy.reset(seed=5)[0])


def test_it_renders_without_a_display_as_the_checker_asks(tmp_path):
    root, reasons = pathlib.Path(samg_jax.__file__).parents[1], []
    for backend in ("egl", "osmesa"):
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RENDER, tmp_path / "frames.npz"],
            env={**os.environ, "PYTHONPATH": str(root), "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
        )
        if result.returncode == 0:
            break
        assert "NO GL" in result.stderr, result.stderr
        reasons.append(f"{backend}: {result.stderr.strip().splitlines()[-1]}")
    else:
        pytest.skip(f"no offscreen OpenGL on this machine ({'; '.join(reasons)})")
    with np.load(tmp_path / "frames.npz") as frames:
        assert frames["start"].shape == (64, 96, 3)
        assert frames["start"].std() > 20
        assert (frames["start"] != frames["later"]).any()


@pytest.mark.parametrize(
    ("env_id", "physics_name", "steps", "options"),
    [
        (UMAZE, "d4rl", 1000, {}),
        ("antmaze-large-play-v2", "stock", 500, {}),
        (
            "antmaze-medium-diverse-v2",
            "d4rl",
            500,
            {"random_start": True, "terminate_on_success": False},
        ),
    ],
)
def test_ants_equal_the_single_environment_in_every_bit(
    env_id, physics_name, steps, options
):
    batch = antmaze.Simulators(env_id, 2, physics_name, threads=2, **options)
    envs = [d4rl_physics.make(env_id, physics_name, **options) for _ in range(2)]
    for index, env in enumerate(envs):
        expected, _ = env.reset(seed=index + 5)
        np.testing.assert_array_equal(batch.reset(index, index + 5), expected)
    rng = np.random.default_rng(0)
    successes, resets = 0, 0
    for step in range(steps):
        if step % 90 == 0:  # Random actions do not reach a goal that stays away.
            state = batch.get_state()
            for index, env in enumerate(envs):
                goal = env.unwrapped.data.qpos[:2] + rng.uniform(-0.6, 0.6, 2)
                state["goals"][index] = env.unwrapped.goal = goal
            batch.set_state(state)
        actions = rng.uniform(-1, 1, (2, 8))
        observations, rewards, terminals, truncations = batch.step(
            actions, np.ones(2, bool)
        )
        assert observations.dtype == rewards.dtype == np.float64
        assert not truncations.any()
        for index, env in enumerate(envs):
            expected, reward, terminal, truncated, _ = env.step(actions[index])
            np.testing.assert_array_equal(observations[index], expected)
            assert (rewards[index], terminals[index]) == (reward, terminal)
            successes += reward
            if terminal or truncated or step in (300, 301):
                resets += 1
                np.testing.assert_array_equal(batch.reset(index, None), env.reset()[0])
    assert successes >= 5
    assert resets >= 4
