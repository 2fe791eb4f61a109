"""The spaces that this package can learn on: vectors in, bounded vectors out."""

from __future__ import annotations

import gymnasium
import numpy as np

from samg_jax import checks

UNBOUNDED = 1e30  # A bound as large as the largest float32 is no bound.


def action_bounds(space: gymnasium.Space, env_id: str) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest action, two `[A]` float64; refuses other spaces.

    Args:
        space: The environment's action space.
        env_id: The id, for the error.
    """
    given = f"{env_id!r} has the action space {space}"
    remedy = "Wrap the environment, or choose one with continuous control."
    if not _is_vector(space):
        if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
            remedy = (
                "Join the parts into one vector with a gymnasium.ActionWrapper that "
                "splits it again, and register that."
            )
        raise checks.UserError(
            f"{given}; only Box spaces of rank 1 are supported. {remedy}"
        )
    if space.dtype.kind != "f":
        raise checks.UserError(
            f"{given}; its actions are integers, and only real numbers are supported. "
            "Declare the space with dtype=np.float32 and round in step, or choose an "
            "environment with continuous control."
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    with np.errstate(invalid="ignore"):
        inside = np.maximum(np.abs(low), np.abs(high)) < UNBOUNDED
    bad = ~inside | (low >= high)
    if bad.any():
        first = int(bad.argmax())
        raise checks.UserError(
            f"{given}; every action needs finite bounds, the lower below the upper. "
            f"Action {first} has {low[first]:g} and {high[first]:g}. Declare the "
            "bounds that the environment clips to, as in spaces.Box(-1.0, 1.0, "
            f"{space.shape}), or wrap it to do so."
        )
    return low, high


def check_observations(space: gymnasium.Space, env_id: str) -> None:
    """Refuses observations that are not vectors."""
    if _is_vector(space):
        return
    given = (
        f"{env_id!r} has the observation space {space}; only Box spaces of rank 1, and "
        "Dict of spaces that flatten into one, are supported."
    )
    if isinstance(space, gymnasium.spaces.Box):
        if space.dtype == np.uint8 and len(space.shape) >= 2:
            raise checks.UserError(
                f"{given} These are images, and no network here reads images. Wrap "
                "the environment so that it returns a vector of features."
            )
        if len(space.shape) == 1:
            raise checks.UserError(f"{given} It is empty. Return at least one number.")
    if isinstance(space, gymnasium.spaces.Dict):
        raise checks.UserError(
            f"{given} A part of this one has no fixed size. Leave it out with a "
            "gymnasium.ObservationWrapper, and register that."
        )
    raise checks.UserError(
        f"{given} Register it with gymnasium.wrappers.FlattenObservation."
    )


def _is_vector(space: gymnasium.Space) -> bool:
    box = isinstance(space, gymnasium.spaces.Box)
    return box and len(space.shape) == 1 and space.shape[0] > 0
