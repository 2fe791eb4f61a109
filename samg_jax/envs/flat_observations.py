"""Observations of a Dict space as one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from samg_jax import checks
from samg_jax.envs import interface


class FlatObservations(gymnasium.ObservationWrapper):
    """Observations of a Dict space as one vector, its parts sorted by key.

    Gymnasium's own wrapper keeps the order of the space, which a dataset file may not
    preserve, and holds a function, which cannot be saved.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._parts = _sorted(env.observation_space)
        _check_filled(self._parts, self._env_id)
        self.observation_space = gymnasium.spaces.flatten_space(self._parts)

    @property
    def _env_id(self) -> str:  # A property, because attributes are saved.
        spec = self.env.spec
        return spec.id if spec else type(self.unwrapped).__name__

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, Mapping]:
        answer = self.env.reset(**kwargs)
        observation, info = interface.reset(answer, self._env_id)
        return self.observation(observation), info

    def step(self, action: Any) -> tuple:
        answer = self.env.step(action)
        if not (isinstance(answer, tuple | list) and len(answer) == 5):
            return answer  # The caller refuses it.
        return self.observation(answer[0]), *answer[1:]

    def observation(self, observation: dict) -> np.ndarray:
        interface.part(self._parts, observation, "observation", self._env_id)
        return gymnasium.spaces.flatten(self._parts, observation)


def _sorted(space: gymnasium.Space) -> gymnasium.Space:
    if not isinstance(space, gymnasium.spaces.Dict):
        return space
    return gymnasium.spaces.Dict(
        {key: _sorted(space[key]) for key in sorted(space.spaces)}
    )


def _check_filled(space: gymnasium.Space, env_id: str) -> None:
    """Refuses structures without parts, which flatten to empty vectors."""
    if not isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        return
    inner = list(getattr(space.spaces, "values", lambda: space.spaces)())
    if not inner:
        raise checks.UserError(
            f"{env_id!r} has the observation space {space}, which has no parts. "
            "Declare in it what reset and step return."
        )
    for one in inner:
        _check_filled(one, env_id)
