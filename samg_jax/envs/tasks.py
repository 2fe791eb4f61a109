"""Tasks by name: the environment of a dataset, its sizes and its reference scores.

D4RL (Fu et al., 2020) reports `100 * (return - REF_MIN) / (REF_MAX - REF_MIN)`, where
the references are the undiscounted returns of a random and of an expert policy.
"""

import dataclasses
import re

import gymnasium
import numpy as np

from samg_jax import checks
from samg_jax.envs import building, instances, mazes, spaces

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
        env_id: the id that `d4rl_physics.make` and `vector.make` understand.
        observation_size: the observation size O.
        action_size: the action size A; actions are in [-1, 1] throughout the package.
        max_episode_steps: the time limit; None if the environment has none.
        ref_min: the return that scores 0; None if there is no reference.
        ref_max: the return that scores 100; None if there is no reference.
        sparse: whether rewards are 0 except at the goal; success and regret are defined
            only then.
        action_bounds: the lowest and the highest action, `A` numbers each, in the
            units of the environment; None for [-1, 1]. They are data, not identity:
            comparisons of tasks ignore them.
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
    """The task of the dataset `name`; `-v2` may be omitted."""
    base = name.removesuffix("-v2")
    if is_antmaze(f"{base}-v2"):
        return _antmaze(f"{base}-v2")
    if base not in _DATASETS:
        known = [*_DATASETS, *(name.removesuffix("-v2") for name in mazes.TASKS)]
        nearest = checks.hint(base, known)
        raise checks.UserError(
            f"Unknown dataset {name!r}. {nearest}Known datasets, with or "
            f"without '-v2': {', '.join(sorted(known))}. For your own file "
            "set config.dataset.path=FILE and config.env_id=ENVIRONMENT; for a Minari "
            "dataset write minari:ID."
        )
    return for_env_id(_DATASETS[base])


def for_env_id(env_id: str) -> Task:
    """The task of any gymnasium id whose actions are bounded vectors.

    If the id is not in our table, its sizes are read from the environment, once per
    process, which keeps that instance for its next use; its returns have no reference.
    Its rewards count as sparse if its `metadata` sets `sparse_rewards`, a key that this
    package defines. Ids `-v2` and `-v3` of the locomotion agents need a simulator that
    is no longer maintained, and mean `-v4`, the same task.
    """
    env_id = canonical_id(env_id)
    if is_antmaze(env_id):
        return _antmaze(env_id)
    if is_locomotion(env_id):
        return _locomotion(env_id)
    spec = building.find(env_id)
    registered, task = _READ.get(env_id, (None, None))
    if registered is spec:
        return task
    env = instances.share(env_id)
    try:
        low, high = spaces.action_bounds(env.action_space, env_id)
        spaces.check_observations(env.observation_space, env_id)
    except checks.UserError:
        instances.close(env_id)
        raise
    task = Task(
        env_id=env_id,
        observation_size=env.observation_space.shape[0],
        action_size=env.action_space.shape[0],
        max_episode_steps=building.time_limit(env, spec),
        sparse=bool(env.metadata.get("sparse_rewards", False)),
        action_bounds=(tuple(low.tolist()), tuple(high.tolist())),
    )
    _READ[env_id] = spec, task
    return task


def normalized_score(returns: np.ndarray | float, task: Task) -> np.ndarray:
    """D4RL's score: 0 for the random reference and 100 for the expert reference.

    Args:
        returns: Undiscounted episode returns, of any shape.
        task: The task of the episodes.

    Returns:
        float64 of the same shape; NaN if the task has no reference.
    """
    returns = np.asarray(returns, np.float64)
    if task.ref_min is None or task.ref_max is None:
        return np.full_like(returns, np.nan)
    return 100.0 * (returns - task.ref_min) / (task.ref_max - task.ref_min)


def canonical_id(env_id: str) -> str:
    """The id that is actually built.

    `Hopper-v2` and `-v3` are `Hopper-v4`, and `antmaze-umaze` is `antmaze-umaze-v2`.
    """
    if is_antmaze(f"{env_id}-v2"):
        return f"{env_id}-v2"
    match = re.fullmatch(r"(\w+)-v[23]", env_id)
    if match and match[1] in _LOCOMOTION:
        return f"{match[1]}-v4"
    return env_id


def is_locomotion(env_id: str) -> bool:
    """Whether this is one of the three D4RL agents, `-v2` to `-v5`."""
    match = re.fullmatch(r"(\w+)-v[2-5]", env_id)
    return bool(match) and match[1] in _LOCOMOTION


def is_antmaze(env_id: str) -> bool:
    """Whether this is one of D4RL's six AntMaze tasks."""
    return env_id in mazes.TASKS


def make_gymnasium(env_id: str, **kwargs: object) -> gymnasium.Env:
    """A new environment; see `building.make`."""
    return building.make(env_id, **kwargs)


def _locomotion(env_id: str) -> Task:
    observation_size, action_size, low, high = _LOCOMOTION[env_id.split("-")[0]]
    return Task(env_id, observation_size, action_size, 1000, low, high)


def _antmaze(env_id: str) -> Task:
    limit = mazes.for_name(mazes.TASKS[env_id]).max_episode_steps
    return Task(env_id, 29, 8, limit, 0.0, 1.0, sparse=True)


# Tasks read from environments: id -> its registration and its task.
_READ: dict[str, tuple[object, Task]] = {}

# `hopper-demo` is our own small dataset for the quickstart.
_DATASETS = {
    f"{agent.lower()}-{dataset}": f"{agent}-v4"
    for agent in _LOCOMOTION
    for dataset in _LOCOMOTION_DATASETS
} | {"hopper-demo": "Hopper-v4"}
