"""All seeds' environments, stepped as one batch.

Actions are in [-1, 1] for every environment, independent of its own bounds. Environment
k depends only on its own seed and actions, never on its neighbors.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from samg_jax import checks
from samg_jax.envs import antmaze, d4rl_physics, generic, instances, locomotion, tasks

_STATE_NAMES = ("observations", "episode_lengths", "episode_returns")


class Step(NamedTuple):
    """The result of one step of `n` environments.

    Attributes:
        next_observations: `[n, O]` float32 true successors, before any reset.
        rewards: `[n]` float32.
        terminals: `[n]` bool; the task ended, and nothing follows.
        timeouts: `[n]` bool; the time was up, even if the task ended on that step.
        observations: `[n, O]` float32, the observations to act on next: the first one
            of a new episode if one ended, else `next_observations`.
        episode_returns: `[n]` float64 sums of the rewards of the episode so far.
        episode_lengths: `[n]` int64 numbers of its steps so far.
    """

    next_observations: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    timeouts: np.ndarray
    observations: np.ndarray
    episode_returns: np.ndarray
    episode_lengths: np.ndarray

    @property
    def truncations(self) -> np.ndarray:
        """`[n]` bool: only the time was up; never true where `terminals` is."""
        return self.timeouts & ~self.terminals

    @property
    def dones(self) -> np.ndarray:
        """`[n]` bool: the episode ended, for either reason."""
        return self.terminals | self.timeouts


class Simulators(Protocol):
    """The simulators of a batch: `Simulators` of locomotion, antmaze or generic."""

    action_low: np.ndarray
    action_high: np.ndarray
    state_names: tuple[str, ...]

    def step(
        self, actions: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...

    def reset(self, index: int, seed: int | None) -> np.ndarray: ...

    def get_state(self) -> dict[str, np.ndarray]: ...

    def set_state(self, state: dict[str, np.ndarray]) -> None: ...

    def close(self) -> None: ...


def make(
    env_id: str,
    num_envs: int,
    seeds: Sequence[int],
    physics: str = "d4rl",
    threads: int | None = None,
    single: bool = False,
    max_steps: int | None = None,
) -> "VectorEnv":
    """Make `num_envs` copies of an environment; call `reset` before the first step.

    Args:
        env_id: Any id that `tasks.for_env_id` knows.
        num_envs: The number n of environments.
        seeds: n non-negative integers, one per environment.
        physics: "d4rl" or "stock", see `d4rl_physics.make`.
        threads: The number of threads that step a batch of D4RL's agents; by default
            one per available processor, but at least four walkers or one ant each,
            since fewer would cost more than they save. Results do not depend on it.
        single: Whether to step the one instance that this process shares, see
            `instances`; n must be 1.
        max_steps: A number of steps that cuts episodes, like the environment's own
            time limit.
    """
    if single and num_envs != 1:
        raise checks.UserError(
            f"Got num_envs={num_envs} of {env_id!r}, which is built only once. One "
            "instance plays one episode at a time. Set num_envs=1."
        )
    if num_envs < 1 or (threads is not None and threads < 1):
        raise checks.UserError(
            f"Got num_envs={num_envs} and threads={threads}; both must be at least 1. "
            "Leave threads out to use all processors."
        )
    resolved = d4rl_physics.resolve(env_id, physics)
    task = tasks.for_env_id(resolved)
    simulators: Simulators
    if resolved in locomotion.ROBOTS:
        threads = threads or min(_processors(), max(1, num_envs // 4))
        threads = min(threads, num_envs)
        simulators = locomotion.Simulators(resolved, num_envs, physics, threads)
    elif tasks.is_antmaze(resolved):
        threads = min(threads or _processors(), num_envs)
        simulators = antmaze.Simulators(resolved, num_envs, physics, threads)
    else:
        shared = [instances.share(resolved)] if single else None
        simulators = generic.Simulators(resolved, num_envs, shared)
    limits = [limit for limit in (task.max_episode_steps, max_steps) if limit]
    task = dataclasses.replace(task, max_episode_steps=min(limits, default=None))
    return VectorEnv(simulators, task, num_envs, seeds)


def _processors() -> int:
    """The number of processors available to this process; a cluster may limit it."""
    if hasattr(os, "sched_getaffinity"):  # Linux.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class VectorEnv:
    """A batch of environments that restart automatically; see `make`.

    Attributes:
        num_envs: the number n of environments.
        observation_size: the observation size O.
        action_size: the action size A.
        max_episode_steps: the time limit, or None.
        observations: `[n, O]` float32, to act on next; None before `reset`.
    """

    def __init__(
        self,
        simulators: Simulators,
        task: tasks.Task,
        num_envs: int,
        seeds: Sequence[int],
    ):
        self.num_envs = num_envs
        self.observation_size = task.observation_size
        self.action_size = task.action_size
        self.max_episode_steps = task.max_episode_steps
        self.observations: np.ndarray | None = None
        self._simulators = simulators
        low, high = simulators.action_low, simulators.action_high
        unit = bool((low == -1.0).all() and (high == 1.0).all())
        self._bounds = None if unit else (low, high)
        self._seeds = self._check_seeds(seeds)  # They apply at the first reset.
        self._all = np.ones(num_envs, bool)
        self._lengths = np.zeros(num_envs, np.int64)
        self._returns = np.zeros(num_envs, np.float64)

    def reset(self, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Start new episodes everywhere; returns their observations `[n, O]`.

        Args:
            seeds: n new seeds; by default each environment continues its own random
                numbers (the first time, from the seeds passed to `make`).
        """
        if seeds is not None:
            self._seeds = self._check_seeds(seeds)
        starts = [
            self._simulators.reset(index, seed)
            for index, seed in enumerate(self._seeds)
        ]
        self._seeds = [None] * self.num_envs
        self._lengths[:] = 0
        self._returns[:] = 0.0
        self.observations = np.stack(starts).astype(np.float32)
        return self.observations.copy()

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> Step:
        """Act once in every environment; an environment whose episode ends is reset.

        Actions are rounded to float32, as replay buffers store them, and clipped to
        [-1, 1]. The simulators receive exactly these numbers as float64, rescaled to
        their bounds. A NaN action counts as 0, so that a seed that went wrong does not
        stop the others; the training loop reports it.

        Args:
            actions: `[n, A]`.
            active: `[n]` bool, by default all; other environments stand still, with the
                same observation, reward 0 and no end.
        """
        actions = self._to_bounds(actions)
        mask = self._all if active is None else np.asarray(active, bool)
        next_observations, rewards, terminals, timeouts = self._simulators.step(
            actions, mask
        )
        next_observations = next_observations.astype(np.float32)
        self._lengths += mask
        if self.max_episode_steps is not None:
            timeouts = timeouts | (self._lengths >= self.max_episode_steps)
        if active is not None:
            # Simulators may return anything for environments that stand still.
            next_observations[~mask] = self.observations[~mask]
            rewards = np.where(mask, rewards, 0.0)
            terminals, timeouts = terminals & mask, timeouts & mask
        self._returns += rewards
        lengths, returns = self._lengths.copy(), self._returns.copy()

        self.observations = next_observations.copy()
        for index in (terminals | timeouts).nonzero()[0].tolist():
            self.observations[index] = self._simulators.reset(index, None)
            self._lengths[index] = 0
            self._returns[index] = 0.0
        return Step(
            next_observations,
            rewards.astype(np.float32),
            terminals,
            timeouts,
            self.observations.copy(),
            returns,
            lengths,
        )

    def get_state(self) -> dict[str, np.ndarray]:
        """All state that the future depends on, as arrays; see `set_state`."""
        self._require_reset("get_state")
        return {
            "observations": self.observations.copy(),
            "episode_lengths": self._lengths.copy(),
            "episode_returns": self._returns.copy(),
            **self._simulators.get_state(),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue, bit for bit, from a state of a batch made with the same arguments.

        The seeds may differ: `state` contains the states of the random generators.
        """
        state = {name: np.asarray(array) for name, array in state.items()}
        shapes = {name: array.shape for name, array in state.items()}
        names = {*_STATE_NAMES, *self._simulators.state_names}
        expected = (self.num_envs, self.observation_size)
        if set(state) != names or shapes["observations"] != expected:
            raise checks.UserError(
                f"Cannot restore a state with the arrays {shapes}; this batch has "
                f"{', '.join(sorted(names))}, with observations {expected}. Make the "
                "batch with the arguments it was saved with."
            )
        self._simulators.set_state(state)
        self._seeds = [None] * self.num_envs
        self.observations = state["observations"].astype(np.float32)
        self._lengths = state["episode_lengths"].astype(np.int64)
        self._returns = state["episode_returns"].astype(np.float64)

    def close(self) -> None:
        """Ends threads and simulators."""
        self._simulators.close()

    def _check_seeds(self, seeds: Sequence[int]) -> list[int | None]:
        seeds = [int(seed) for seed in seeds]
        if len(seeds) != self.num_envs or min(seeds) < 0:
            raise checks.UserError(
                f"Got the seeds {seeds} for {self.num_envs} environments; each needs "
                "one non-negative integer. Pass a list of that length."
            )
        return seeds

    def _require_reset(self, name: str) -> None:
        if self.observations is None:
            raise checks.UserError(
                f"{name} was called on environments that were never reset; episodes "
                "begin with reset or set_state. Call one of them first."
            )

    def _to_bounds(self, actions: np.ndarray) -> np.ndarray:
        """The actions `[n, A]` in the units of the environment, as float64."""
        self._require_reset("step")
        actions = np.asarray(actions, np.float32)
        expected = (self.num_envs, self.action_size)
        if actions.shape != expected:
            raise checks.UserError(
                f"Got actions of shape {actions.shape}; {expected} is allowed: one row "
                "per environment. Stack the actions of all environments."
            )
        actions = np.minimum(np.maximum(actions, -1.0, dtype=np.float64), 1.0)
        actions[np.isnan(actions)] = 0.0
        if self._bounds is None:
            return actions  # They are exact, without rounding.
        low, high = self._bounds
        return np.clip(low + 0.5 * (actions + 1.0) * (high - low), low, high)


def rollout(
    env: VectorEnv,
    policy: Callable[[np.ndarray], np.ndarray],
    episodes: int = 1,
    seeds: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Play episodes with a policy; returns mean returns and lengths.

    Environments that have finished stand still until the last one has. The policy
    always acts for all of them, so that it compiles once. The episodes must end:
    without a time limit this may never return.

    Args:
        env: n environments; episodes start with a reset.
        policy: A function from observations `[n, O]` to actions `[n, A]`.
        episodes: The number of episodes in each environment.
        seeds: n seeds for that reset; by default the random numbers continue.

    Returns:
        Undiscounted returns `[n]` and lengths `[n]`, float64 means over the episodes.
    """
    returns, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs)
    remaining = np.full(env.num_envs, episodes)
    observations = env.reset(seeds)
    while remaining.any():
        step = env.step(np.asarray(policy(observations)), active=remaining > 0)
        returns += np.where(step.dones, step.episode_returns, 0.0)
        lengths += np.where(step.dones, step.episode_lengths, 0)
        remaining -= step.dones
        observations = step.observations
    return returns / episodes, lengths / episodes
