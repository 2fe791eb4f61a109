import ast
import importlib.metadata

import numpy as np
import pytest

from samg_jax.envs import mazes

SOURCE = {
    "umaze": "U_MAZE_TEST",
    "medium": "BIG_MAZE_TEST",
    "large": "HARDEST_MAZE_TEST",
}
WALLS = {"umaze": 18, "medium": 38, "large": 62}
GOALS = {"umaze": (0.0, 8.0), "medium": (20.0, 20.0), "large": (32.0, 24.0)}


def source_map(name):
    """Returns the map that D4RL's source assigns to a name."""
    try:
        files = importlib.metadata.files("d4rl")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("d4rl is not installed")
    file = next(f for f in files if str(f).endswith("locomotion/maze_env.py"))
    # The package itself imports simulators that are not available today.
    for node in ast.parse(file.locate().read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            code = compile(ast.Expression(node.value), name, "eval")
            return eval(code, {"R": "R", "G": "G"})
    raise LookupError(name)


@pytest.mark.parametrize("name", list(mazes.MAZES))
def test_maps_are_those_of_the_d4rl_package(name):
    rows = tuple("".join(map(str, row)) for row in source_map(SOURCE[name]))
    assert mazes.MAZES[name].rows == rows


@pytest.mark.parametrize("name", list(mazes.MAZES))
def test_walls_and_goal_are_where_d4rl_has_them(name):
    maze = mazes.MAZES[name]
    cells = len(maze.rows) * len(maze.rows[0])
    assert len(maze.walls) == WALLS[name]
    assert len(maze.free_cells) == cells - WALLS[name]
    np.testing.assert_array_equal(maze.goal, GOALS[name])


def test_the_start_is_the_origin_and_y_grows_with_the_row():
    maze = mazes.MAZES["umaze"]
    np.testing.assert_array_equal(
        maze.centers([[1, 1], [2, 3], [0, 4]]), [[0, 0], [8, 4], [12, -4]]
    )
    np.testing.assert_array_equal(maze.bounds, [[-6, -6], [14, 14]])


@pytest.mark.parametrize("maze", mazes.MAZES.values(), ids=list(mazes.MAZES))
def test_a_position_is_in_the_cell_whose_center_is_nearest(maze):
    noise = np.random.default_rng(0).uniform(-1.99, 1.99, maze.free_cells.shape)
    positions = maze.centers(maze.free_cells) + noise
    np.testing.assert_array_equal(maze.cells(positions), maze.free_cells)


def test_random_starts_leave_the_goal_out():
    maze = mazes.MAZES["umaze"]
    left = {tuple(cell) for cell in maze.free_cells} - {
        tuple(cell) for cell in maze.start_cells
    }
    assert left == {(3, 1)}


def test_an_unknown_maze_is_refused():
    with pytest.raises(ValueError, match="Allowed: umaze, medium, large"):
        mazes.for_name("open")
