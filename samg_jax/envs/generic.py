"""Any other gymnasium environment, as a list of instances stepped one by one.

Gymnasium's own vector environments always step all instances, so evaluation episodes
could not stand still after they end. Those with several processes also cannot save
their state. They are therefore not used, at the cost of stepping in one process.

`pickling` saves the state of the instances.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np

from samg_jax.envs import building, instances, interface, pickling, spaces

_BLOCK = 4096  # Sizes are rounded up to a multiple, so that shapes seldom change.


class Simulators:
    """A list of gymnasium environments without a time limit, which `VectorEnv` applies.

    Attributes:
        action_low: `[A]` float64.
        action_high: `[A]` float64.
        state_names: the arrays of `get_state`.
        outside: the first violation that `note` found; empty if none.
    """

    state_names: tuple[str, ...] = ("pickled", "pickled_sizes")

    def __init__(
        self, env_id: str, num_envs: int, envs: list[gymnasium.Env] | None = None
    ):
        """Builds the environments, unless they are given.

        Args:
            env_id: The id of the environments.
            num_envs: The number n of environments.
            envs: n environments that are already built; `close` leaves them open.
        """
        self._env_id, self._own = env_id, envs is None
        if envs is None:
            envs = [instances.take(env_id)]
            for _ in range(num_envs - 1):
                envs.append(building.make(env_id, max_episode_steps=building.NO_LIMIT))
        self._envs = envs
        space = self._envs[0].action_space
        self.action_low, self.action_high = spaces.action_bounds(space, env_id)
        self._dtype = space.dtype
        self.outside = ""
        self._check_methods()
        self._observation_shape = self._envs[0].observation_space.shape

    def step(
        self, actions: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Step the environments; returns observations, rewards, terminals, truncations.

        Args:
            actions: `[n, A]` float64 within the bounds.
            active: `[n]` bool; others stand still, and their rows are 0.
        """
        count = len(self._envs)
        observations = np.zeros((count, *self._observation_shape))
        rewards = np.zeros(count)
        terminals, truncations = np.zeros(count, bool), np.zeros(count, bool)
        for index in np.flatnonzero(active):
            answer = self._envs[index].step(actions[index].astype(self._dtype))
            observation, *rest = interface.step(answer, self._env_id)
            observations[index] = self._observation(observation, "step")
            rewards[index], terminals[index], truncations[index] = rest
        return observations, rewards, terminals, truncations

    def reset(self, index: int, seed: int | None) -> np.ndarray:
        """Start a new episode of one environment; returns its observation `[O]`."""
        if seed is not None:
            pickling.seed_spaces(self._envs[index], seed)
        answer = self._envs[index].reset(seed=seed)
        observation, _ = interface.reset(answer, self._env_id)
        return self._observation(observation, "reset")

    def note(self, observation: np.ndarray) -> None:
        """Remember the first observation `[O]` that violates the observation space."""
        space = self._envs[0].observation_space
        self.outside = self.outside or interface.outside(space, observation)

    def get_state(self) -> dict[str, np.ndarray]:
        """`pickled` `[n, size]` uint8, padded with 0, and `pickled_sizes`."""
        states = [pickling.save(env, self._env_id) for env in self._envs]
        pickled = [np.frombuffer(state, np.uint8) for state in states]
        sizes = np.array([len(data) for data in pickled], np.int64)
        padded = np.zeros((len(pickled), -(-sizes.max() // _BLOCK) * _BLOCK), np.uint8)
        for row, data in zip(padded, pickled, strict=True):
            row[: len(data)] = data
        return {"pickled": padded, "pickled_sizes": sizes}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continues exactly where `get_state` was called."""
        for env, data, size in zip(
            self._envs, state["pickled"], state["pickled_sizes"], strict=True
        ):
            env.reset()  # Some wrappers refuse to step without a reset.
            pickling.load(env, data[:size].tobytes(), self._env_id)

    def close(self) -> None:
        """Close the environments, except those passed to the constructor."""
        for env in self._envs if self._own else ():
            building.close(env, self._env_id)

    def _check_methods(self) -> None:
        env = self._envs[0]
        signature = inspect.signature(env.unwrapped.reset)
        given = {"seed": 0} if env is env.unwrapped else {"seed": 0, "options": None}
        try:
            signature.bind(**given)  # Gymnasium's wrappers call it like this.
        except TypeError as error:
            raise interface.refusal(
                self._env_id,
                f"its method is reset{signature}",
                "def reset(self, *, seed=None, options=None)",
                old=True,
            ) from error
        step = env.unwrapped.step
        try:
            inspect.signature(step).bind(0.0)
        except TypeError as error:
            raise interface.refusal(
                self._env_id,
                f"its method is step{inspect.signature(step)}",
                "def step(self, action)",
            ) from error
        if getattr(step, "__func__", None) is gymnasium.Env.step:
            raise interface.refusal(
                self._env_id, "it has no method step", "def step(self, action)"
            )

    def _observation(self, value: Any, where: str) -> np.ndarray:
        return interface.observation(
            value, self._observation_shape, where, self._env_id
        )
