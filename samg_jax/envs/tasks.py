"""Tasks by name: the environment of a dataset, its sizes and its reference scores.

D4RL (Fu et al., 2020) reports `100 * (return - REF_MIN) / (REF_MAX - REF_MIN)`, where
the references are the undiscounted returns of a random and of an expert policy.
"""

import dataclasses
import re
import warnings

import gymnasium
import numpy as np

from samg_jax import checks
from samg_jax.envs import mazes

# Per agent: observation size, action size, reference minimum and maximum.
_LOCOMOTION = {
    "HalfCheetah": (17, 6, -280.178953, 12135.0),
    "Hopper": (11, 3, -20.272305, 3234.3),
    "Walker2d": (17, 6, 1.629008, 4592.3),
}
_LOCOMOTION_DATASETS = ("medium", "medium-replay", "medium-expert")


@dataclasses.dataclass(frozen=True)
class Task:
    """An environment and how its returns are reported.

    Attributes:
        env_id: identifier that `physics.make` and `vector.make` understand.
        observation_size: O.
        action_size: A; actions are in [-1, 1] throughout the package.
        max_episode_steps: time limit, None where the environment has none.
        ref_min: return that scores 0, None where there is no reference.
        ref_max: return that scores 100, None where there is no reference.
        sparse: whether a reward is 0, or positive where the goal is reached; only then
            are success and regret defined.
        action_bounds: the lowest and the highest action, `A` numbers each, in the
            units of the environment; None for [-1, 1]. Data, not identity: two tasks
            are compared without it.
    """

    env_id: str
    observation_size: int
    action_size: int
    max_episode_steps: int | None
    ref_min: float | None = None
    ref_max: float | None = None
    sparse: bool = False
    action_bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = (
        dataclasses.field(default=None, compare=False)
    )


def for_dataset(name: str) -> Task:
    """Returns the task on which the dataset `name` is played; `-v2` may be left out."""
    base = name.removesuffix("-v2")
    if is_antmaze(f"{base}-v2"):
        return _antmaze(f"{base}-v2")
    if base not in _DATASETS:
        known = [*_DATASETS, *(name.removesuffix("-v2") for name in mazes.TASKS)]
        nearest = checks.hint(base, known, cutoff=0.5)
        raise checks.UserError(
            f"Unknown dataset {name!r}. {nearest}Known datasets, with or "
            f"without '-v2': {', '.join(sorted(known))}. For any other environment use "
            "for_env_id."
        )
    return for_env_id(_DATASETS[base])


def for_env_id(env_id: str) -> Task:
    """Returns the task of any gymnasium id whose actions are bounded vectors.

    The sizes of an id that is not in our table are read from the environment, and its
    returns have no reference. Its rewards count as sparse if its `metadata` has a true
    `sparse_rewards`, a name of ours. Ids `-v2` and `-v3` of the locomotion agents,
    which need a simulator that is no longer maintained, stand for `-v4`, the same task.
    """
    env_id = canonical_id(env_id)
    if is_antmaze(env_id):
        return _antmaze(env_id)
    if is_locomotion(env_id):
        return _locomotion(env_id)
    env = make_gymnasium(env_id)
    try:
        low, high = action_bounds(env.action_space, env_id)
        _check_observations(env.observation_space, env_id)
        return Task(
            env_id=env_id,
            observation_size=env.observation_space.shape[0],
            action_size=env.action_space.shape[0],
            max_episode_steps=env.spec.max_episode_steps if env.spec else None,
            sparse=bool(env.metadata.get("sparse_rewards", False)),
            action_bounds=(tuple(low.tolist()), tuple(high.tolist())),
        )
    finally:
        env.close()


def normalized_score(returns: np.ndarray | float, task: Task) -> np.ndarray:
    """Returns D4RL's score, 0 for the random and 100 for the expert reference.

    Args:
        returns: undiscounted episode returns, any shape.
        task: the task they were obtained on.

    Returns:
        float64 of the same shape; NaN where the task has no reference.
    """
    returns = np.asarray(returns, np.float64)
    if task.ref_min is None or task.ref_max is None:
        return np.full_like(returns, np.nan)
    return 100.0 * (returns - task.ref_min) / (task.ref_max - task.ref_min)


def canonical_id(env_id: str) -> str:
    """Returns the id that is really built.

    `Hopper-v2` and `-v3` are `Hopper-v4`, and `antmaze-umaze` is `antmaze-umaze-v2`.
    """
    if is_antmaze(f"{env_id}-v2"):
        return f"{env_id}-v2"
    match = re.fullmatch(r"(\w+)-v[23]", env_id)
    if match and match[1] in _LOCOMOTION:
        return f"{match[1]}-v4"
    return env_id


def is_locomotion(env_id: str) -> bool:
    """Returns whether this is one of the three D4RL agents, `-v2` to `-v5`."""
    match = re.fullmatch(r"(\w+)-v[2-5]", env_id)
    return bool(match) and match[1] in _LOCOMOTION


def is_antmaze(env_id: str) -> bool:
    """Returns whether this is one of D4RL's six AntMaze tasks."""
    return env_id in mazes.TASKS


class FlatObservations(gymnasium.ObservationWrapper):
    """Observations of a Dict space as one vector, its parts by sorted keys.

    Gymnasium's own wrapper keeps the order of the space, which need not survive being
    written into a dataset, and holds a function, which cannot be saved.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._parts = _sorted(env.observation_space)
        self.observation_space = gymnasium.spaces.flatten_space(self._parts)

    def observation(self, observation: dict) -> np.ndarray:
        return gymnasium.spaces.flatten(self._parts, observation)


def _sorted(space: gymnasium.Space) -> gymnasium.Space:
    if not isinstance(space, gymnasium.spaces.Dict):
        return space
    return gymnasium.spaces.Dict(
        {key: _sorted(space[key]) for key in sorted(space.spaces)}
    )


def make_gymnasium(env_id: str, **kwargs: object) -> gymnasium.Env:
    """Returns `gymnasium.make(env_id, **kwargs)`; silent about old versions.

    Versions are chosen on purpose here: `-v4` is the task of the D4RL data.
    Observations of a Dict space come as one vector, see `FlatObservations`.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except gymnasium.error.Error as error:
        if env_id in gymnasium.registry:
            raise
        nearest = checks.hint(env_id, list(gymnasium.registry), cutoff=0.5)
        raise checks.UserError(
            f"Unknown environment {env_id!r}. {nearest}Allowed are ids registered with "
            "gymnasium, which D4RL's AntMaze names and the locomotion ids are. To use "
            "your own environment, gymnasium.register it first."
        ) from error
    except ImportError as error:
        raise checks.UserError(
            f"The environment {env_id!r} cannot be imported: {error}. What stands "
            "before a colon is the module that registers it; others name one where "
            "they are registered. Install the package that has it, or correct the id."
        ) from error
    if isinstance(env.observation_space, gymnasium.spaces.Dict):
        env = FlatObservations(env)
    return env


def action_bounds(space: gymnasium.Space, env_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and highest action, two `[A]` float64; refuses other spaces.

    Args:
        space: the environment's action space.
        env_id: named in the error.
    """
    given = f"{env_id!r} has the action space {space}"
    remedy = "Wrap the environment, or choose one with continuous control."
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise checks.UserError(
            f"{given}; only Box spaces of rank 1 are supported. {remedy}"
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise checks.UserError(f"{given}; every action needs finite bounds. {remedy}")
    return low, high


def _check_observations(space: gymnasium.Space, env_id: str) -> None:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise checks.UserError(
            f"{env_id!r} has the observation space {space}; only Box spaces of rank 1 "
            "are supported. Register it with gymnasium.wrappers.FlattenObservation."
        )


def _locomotion(env_id: str) -> Task:
    observation_size, action_size, low, high = _LOCOMOTION[env_id.split("-")[0]]
    return Task(env_id, observation_size, action_size, 1000, low, high)


def _antmaze(env_id: str) -> Task:
    limit = mazes.for_name(mazes.TASKS[env_id]).max_episode_steps
    return Task(env_id, 29, 8, limit, 0.0, 1.0, sparse=True)


# `hopper-demo` is our own small dataset for the quickstart.
_DATASETS = {
    f"{agent.lower()}-{dataset}": f"{agent}-v4"
    for agent in _LOCOMOTION
    for dataset in _LOCOMOTION_DATASETS
} | {"hopper-demo": "Hopper-v4"}
