"""D4RL's three mazes: their maps, and the positions of cells in the world.

The center of the start cell is the origin; x grows with the column and y with the row.
A drawing of the world in the usual axes therefore shows the map upside down.
"""

import dataclasses
import functools

import numpy as np

from samg_jax import checks

CELL = 4.0  # Width of a cell in meters.
WALL, FREE, START, GOAL = "1", "0", "R", "G"


@dataclasses.dataclass(frozen=True)
class Maze:
    """A map of square cells with one start and one goal.

    Attributes:
        rows: the map; `1` is wall, `0` free, `R` the start, `G` the goal.
        max_episode_steps: time limit of D4RL's task.
    """

    rows: tuple[str, ...]
    max_episode_steps: int

    @functools.cached_property
    def walls(self) -> np.ndarray:
        """`[n, 2]` int64, row and column of each wall, row after row."""
        return np.argwhere(self._map == WALL)

    @functools.cached_property
    def free_cells(self) -> np.ndarray:
        """`[n, 2]` int64, row and column of all other cells, with start and goal."""
        return np.argwhere(self._map != WALL)

    @functools.cached_property
    def start_cells(self) -> np.ndarray:
        """`[n, 2]` int64, the cells of D4RL's random starts: free, and not the goal."""
        return np.argwhere((self._map != WALL) & (self._map != GOAL))

    @functools.cached_property
    def goal(self) -> np.ndarray:
        """`[2]` float64, x and y of the goal cell's center."""
        return self.centers(np.argwhere(self._map == GOAL)[0])

    @functools.cached_property
    def bounds(self) -> np.ndarray:
        """`[2, 2]` float64, lowest and highest x and y of the outer walls."""
        corners = np.array([(0, 0), np.array(self._map.shape) - 1])
        return self.centers(corners) + np.array([[-0.5], [0.5]]) * CELL

    def centers(self, cells: np.ndarray) -> np.ndarray:
        """The x and y of the centers of `cells`, both `[..., 2]`."""
        return CELL * (np.asarray(cells) - self._start)[..., ::-1].astype(np.float64)

    def cells(self, positions: np.ndarray) -> np.ndarray:
        """The row and column of the cells that contain `positions`, `[..., 2]`."""
        columns_rows = np.floor(np.asarray(positions) / CELL + 0.5).astype(np.int64)
        return columns_rows[..., ::-1] + self._start

    @functools.cached_property
    def _map(self) -> np.ndarray:
        return np.array([list(row) for row in self.rows])

    @functools.cached_property
    def _start(self) -> np.ndarray:
        return np.argwhere(self._map == START)[0]


# The goals are those of evaluation; D4RL also collected data with other goals.
MAZES = {
    "umaze": Maze(
        ("11111", "1R001", "11101", "1G001", "11111"),
        max_episode_steps=700,
    ),
    "medium": Maze(
        (
            "11111111",
            "1R011001",
            "10010001",
            "11000111",
            "10010001",
            "10100101",
            "100010G1",
            "11111111",
        ),
        max_episode_steps=1000,
    ),
    "large": Maze(
        (
            "111111111111",
            "1R0001000001",
            "101101010101",
            "100000010001",
            "101111011101",
            "100101000001",
            "110101010111",
            "100100010G01",
            "111111111111",
        ),
        max_episode_steps=1000,
    ),
}

# Play and diverse describe how the data were collected; they are one task.
TASKS = {
    f"antmaze-{name}-v2": name.split("-")[0]
    for name in (
        "umaze",
        "umaze-diverse",
        "medium-play",
        "medium-diverse",
        "large-play",
        "large-diverse",
    )
}


def for_name(name: str) -> Maze:
    """The maze named `umaze`, `medium` or `large`; refuses other names."""
    if name not in MAZES:
        raise checks.UserError(
            f"Unknown maze {name!r}. Allowed: {', '.join(MAZES)}. To add a maze, list "
            "it in MAZES in samg_jax/envs/mazes.py."
        )
    return MAZES[name]
