"""The scripted ant: shortest ways through mazes, and a walk that gets there."""

import gymnasium
import numpy as np
import pytest

from samg_jax.collecting import ant_controller
from samg_jax.envs import d4rl_physics, mazes

RNG = np.random.default_rng(0)
LIMIT = 700


def distances(maze, goal):
    """Returns cell -> number of cells to the goal's, by flooding the map."""
    free = {tuple(cell) for cell in maze.free_cells.tolist()}
    found, front = {goal: 0}, [goal]
    while front:
        cell = front.pop(0)
        for row, column in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            beside = (cell[0] + row, cell[1] + column)
            if beside in free and beside not in found:
                found[beside] = found[cell] + 1
                front.append(beside)
    return found


@pytest.mark.parametrize("name", mazes.MAZES)
def test_following_the_headings_is_a_shortest_way(name):
    maze = mazes.MAZES[name]
    for goal_cell in maze.free_cells[:: len(maze.free_cells) // 2].tolist():
        goal = maze.centers(goal_cell) + RNG.uniform(0, 1.5, 2)
        guide = ant_controller.Guide(maze, goal)
        lengths = distances(maze, tuple(goal_cell))
        assert len(lengths) == len(maze.free_cells)
        for start in maze.free_cells.tolist():
            position = maze.centers(start) + RNG.uniform(-0.5, 0.5, 2)
            way = [start]
            while np.linalg.norm(position - goal) > 1e-3:
                position = position + 0.5 * guide.heading(position)
                cell = maze.cells(position).tolist()
                if cell != way[-1]:
                    way.append(cell)
                assert len(way) <= len(lengths)
            assert len(way) == lengths[tuple(start)] + 1
            assert all(tuple(cell) in lengths for cell in way)


def test_headings_shorten_at_the_goal_only():
    guide = ant_controller.Guide(mazes.MAZES["umaze"], np.array([0.5, 8.5]))
    np.testing.assert_allclose(guide.heading(np.array([0.3, 8.9])), [0.2, -0.4])
    for place in ([1.9, 8.5], [4.1, 7.9], [8.0, 4.0], [0.0, 0.1]):
        assert np.linalg.norm(guide.heading(np.array(place))) == pytest.approx(1.0)


def states(count):
    """Returns `[count, 29]` of anything."""
    return RNG.normal(size=(count, 29))


def turned(vectors, angle):
    """Returns vectors `[n, 2]`, turned anticlockwise."""
    numbers = (vectors @ [1, 1j]) * np.exp(1j * angle)
    return np.stack([numbers.real, numbers.imag], axis=-1)


def test_walking_depends_on_the_heading_as_the_ant_sees_it():
    observations, headings, angle = states(6), RNG.normal(size=(6, 2)), 0.7
    elsewhere = observations.copy()
    elsewhere[:, :2] = 5.0
    # The quaternion of a turn around the vertical, times the ant's own.
    w, x, y, z = observations[:, 3:7].T
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    elsewhere[:, 3:7] = np.stack(
        [c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w], axis=1
    )
    elsewhere[:, 3:7] *= 1.1  # D4RL's are not normalized after a reset.
    for time in (0, 3):
        np.testing.assert_allclose(
            ant_controller.walk(elsewhere, turned(headings, angle), time),
            ant_controller.walk(observations, headings, time),
            atol=1e-12,
        )


def test_a_batch_is_its_rows():
    observations, headings = states(4), RNG.normal(size=(4, 2))
    batch = ant_controller.walk(observations, headings, 5)
    assert batch.shape == (4, 8)
    assert np.abs(batch).max() == 1.0
    for row, observation, heading in zip(batch, observations, headings, strict=True):
        np.testing.assert_array_equal(ant_controller.walk(observation, heading, 5), row)


def test_every_actuator_pulls_its_own_joint_to_its_target():
    model = d4rl_physics.make("antmaze-umaze-v2").unwrapped.model
    level = np.zeros(29)
    level[3] = 1.0
    soft = ant_controller.Gait(8.0, 0.5, 0.8, 0.3, 0.3, 0.0, 0.1, 0.01)
    before = ant_controller.walk(level, np.array([1.0, 0.0]), 2, soft)
    for actuator in range(8):
        joint = model.actuator_trnid[actuator, 0]
        moved = level.copy()
        moved[model.jnt_qposadr[joint]] += 0.5  # Too far,
        moved[15 + model.jnt_dofadr[joint]] += 2.0  # and going further.
        after = ant_controller.walk(moved, np.array([1.0, 0.0]), 2, soft)
        expected = np.zeros(8)
        expected[actuator] = -0.1 * 0.5 - 0.01 * 2.0
        np.testing.assert_allclose(after - before, expected, atol=1e-12)


@pytest.mark.parametrize("heading", [(1.0, 0.0), (0.0, -0.9), (-0.6, 0.6)])
def test_the_ant_walks_where_it_is_told(heading):
    env = d4rl_physics.make("antmaze-medium-play-v2", terminate_on_success=False)
    env.reset(seed=1)
    start = np.array([2.0, 2.0])  # Between four free cells.
    facing = [np.cos(0.5), 0.0, 0.0, np.sin(0.5)]
    qpos = np.array([*start, 0.75, *facing, *np.zeros(8)])
    env.unwrapped.set_state(qpos, np.zeros(14))
    observation = np.concatenate([qpos, np.zeros(14)])
    for time in range(25):
        action = ant_controller.walk(observation, np.array(heading), time)
        observation = env.step(action)[0]
    walked = observation[:2] - start
    way = np.array(heading) / np.linalg.norm(heading)
    assert walked @ way > 1.0
    assert np.linalg.norm(walked - (walked @ way) * way) < 0.5 * walked @ way


def test_the_ant_solves_the_task():
    env = gymnasium.make("antmaze-umaze-v2")
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        guide = ant_controller.Guide(mazes.MAZES["umaze"], info["goal"])
        for time in range(LIMIT):
            action = ant_controller.walk(
                observation, guide.heading(observation[:2]), time
            )
            observation, reward, terminal, truncated, _ = env.step(action)
            if terminal or truncated:
                break
        assert (reward, terminal, truncated) == (1.0, True, False)
        assert time < 300
