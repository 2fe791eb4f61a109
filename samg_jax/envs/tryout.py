"""The try-out of an environment before any compute: stepping, saving, rebuilding.

The robots that this package simulates itself need no try-out: their states are arrays
that continue bit for bit. Any other environment is built, reset, stepped and saved; a
second instance then continues from the saved state. A checkpoint contains the
environment's state only if both agree in every bit. Otherwise a run resumes at episode
boundaries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np

from samg_jax import checks
from samg_jax.envs import (
    building,
    d4rl_physics,
    generic,
    instances,
    locomotion,
    pickling,
    tasks,
)

BEFORE = 7  # Steps before the state is saved, in the middle of an episode.
AFTER = 200  # Steps that both copies then take.
SECONDS = 5.0  # The time after which a slow environment has shown enough.
CUTS = (5, 100)
LEAST = 10  # Steps after the save, even in a slow environment.
DEVICE_STEPS = 3
DEPTH = 4  # The depth of nested attributes to search for a handle.
# Types that reach outside the process, or belong to a thread.
HANDLES = (
    io.IOBase,
    socket.socket,
    subprocess.Popen,
    threading.Thread,
    threading.Event,
    threading.Condition,
    type(threading.Lock()),
    type(threading.RLock()),
)


@dataclasses.dataclass(frozen=True)
class Trial:
    """The result of an environment's try-out.

    Attributes:
        exact: whether a saved state continues exactly.
        reason: the reason if it does not; else empty.
        single: whether this process builds only one instance, for training and
            evaluation.
        why_single: the reason for a single instance; else empty.
        repeats: whether equal seeds give equal episodes, independent of earlier play.
        outside: the number that the observation space excludes; empty if none was met.
    """

    exact: bool = True
    reason: str = ""
    single: bool = False
    why_single: str = ""
    repeats: bool = True
    outside: str = ""


EXACT = Trial()
_TRIED: dict[tuple[str, bool | None, bool], tuple[object, Trial]] = {}


def run(
    task: tasks.Task, physics_name: str, asked: bool | None, simulators: int
) -> Trial:
    """Try an environment out, once per process.

    The environment is built only once in three cases: it is asked for, a second
    construction fails, or training has one simulator that cannot be pickled because it
    holds a handle such as a lock or a socket, as environments that drive a device do.

    Args:
        task: The task.
        physics_name: "d4rl" or "stock".
        asked: The value of `config.single_env`; None to find out.
        simulators: The number of instances that training steps.

    Raises:
        checks.UserError: The environment cannot be used, or not in this number.
    """
    env_id = d4rl_physics.resolve(task.env_id, physics_name)
    if env_id in locomotion.ROBOTS or tasks.is_antmaze(env_id):
        if asked:
            raise checks.UserError(
                f"config.single_env is True, but {env_id!r} is simulated by this "
                "package, which can build any number of it. Leave it out."
            )
        return EXACT
    spec, key = building.find(env_id), (env_id, asked, simulators == 1)
    tried, trial = _TRIED.get(key, (None, EXACT))
    if tried is not spec:
        with building.ending_aloud(env_id, "code"):
            trial = _try(env_id, asked, simulators)
        _TRIED[key] = spec, trial
    if trial.single and simulators > 1:
        raise checks.UserError(
            f"The environment {env_id!r} can be built only once ({trial.why_single}), "
            f"but training would step {simulators} of it: one per seed, and per "
            "combination of a sweep. Set config.num_seeds=1 and start one process per "
            "seed, without a sweep."
        )
    return trial


def _try(env_id: str, asked: bool | None, simulators: int) -> Trial:
    env = instances.share(env_id)
    with _leaving_no_trace():
        first = generic.Simulators(env_id, 1, [env])
        _step_gently(first, env_id)
        if asked:
            return _single(first, "config.single_env is True")
        handle = None if asked is False else _handle(env, env_id)
        if handle is not None and simulators == 1:
            return _single(first, f"it holds {handle}")
        try:
            twin = building.make(env_id, max_episode_steps=building.NO_LIMIT)
        except checks.UserError as error:
            if asked is False:
                raise
            return _single(first, f"a second one fails: {error}")
        second = generic.Simulators(env_id, 1, [twin])
        repeats = _repeats(second, env_id)
        reason = _compare(first, second, env_id)
    building.close(twin, env_id)
    instances.close(env_id)  # Training starts with a fresh instance.
    return Trial(not reason, reason, repeats=repeats, outside=first.outside)


def _single(tried: generic.Simulators, why: str) -> Trial:
    return Trial(False, "it is built only once", True, why, outside=tried.outside)


def _step_gently(simulators: generic.Simulators, env_id: str) -> None:
    """Take a few steps with mid-range actions, as a real device may move."""
    middle = 0.5 * (simulators.action_low + simulators.action_high)
    try:
        for _ in _trajectory(simulators, [middle] * DEVICE_STEPS, env_id, seed=0):
            pass
    except building.MISSING as error:  # Some environments import on first use.
        raise building.not_importable(env_id, error) from error


def _repeats(simulators: generic.Simulators, env_id: str) -> bool:
    """Whether everything after a reset with a seed depends only on that seed."""
    middle = 0.5 * (simulators.action_low + simulators.action_high)
    plays = [
        list(_trajectory(simulators, [middle] * 2 * LEAST, env_id, seed=3))
        for _ in range(2)
    ]
    return all(np.array_equal(a, b) for a, b in zip(*plays, strict=True))


def _compare(first: generic.Simulators, second: generic.Simulators, env_id: str) -> str:
    """Why a saved state does not continue exactly; empty if it does."""
    low, high = first.action_low, first.action_high
    rng = np.random.default_rng(0)
    actions = rng.uniform(low, high, (BEFORE + AFTER, len(low)))
    for _ in _trajectory(first, actions[:BEFORE], env_id, seed=1):
        pass
    try:
        state = first.get_state()
    except pickling.CannotSave as error:
        return error.reason
    began, expected, shared = time.monotonic(), [], _shared()
    for row in _trajectory(first, actions[BEFORE:], env_id):
        expected.append(row)
        if time.monotonic() - began > SECONDS and len(expected) >= LEAST:
            break
    drawn = _drawn_since(shared)
    if drawn:
        return (
            f"it draws random numbers from {drawn}, which all environments share "
            "(self.np_random is its own)"
        )
    second.reset(0, 2)
    try:
        second.set_state(state)
    except checks.UserError as error:  # `pickling` names what is not allowed.
        return str(error).partition(". ")[0]
    except Exception as error:  # Loading a state runs the environment's code.
        return _cannot_continue(error)
    differ = ""
    rows = _trajectory(second, actions[BEFORE : BEFORE + len(expected)], env_id)
    try:
        for step, (row, wanted) in enumerate(zip(rows, expected, strict=True), 1):
            if not np.array_equal(row, wanted) and not differ:
                differ = (
                    "two copies that continued from one saved state differ after "
                    f"{step} steps"
                )
    except checks.UserError:  # The interface is violated, as it would be later.
        raise
    except Exception as error:  # The first copy took these steps without an error.
        return differ or _cannot_continue(error)
    return differ


def _cannot_continue(error: Exception) -> str:
    return f"its saved state cannot be continued: {type(error).__name__}: {error}"


def _trajectory(
    simulators: generic.Simulators, actions: Any, env_id: str, seed: int | None = None
) -> Iterator[np.ndarray]:
    """Yields everything that each step returns, and the new start if there is one.

    Episodes that end are restarted; so are unfinished episodes at the steps `CUTS`.
    With a seed, a reset comes first.
    """
    if seed is not None:
        _check_finite(simulators.reset(0, seed), "reset", env_id)
    for count, action in enumerate(actions, start=1):
        observations, *rest = simulators.step(action[None], np.ones(1, bool))
        rewards, terminals, truncations = rest
        row = [observations.ravel(), rewards, terminals, truncations]
        _check_finite(np.concatenate(row[:2]), f"step {count}", env_id)
        simulators.note(row[0])
        if terminals[0] or truncations[0] or count in CUTS:
            row.append(simulators.reset(0, None))
            _check_finite(row[-1], "reset", env_id)
        yield np.concatenate([np.asarray(part, np.float64) for part in row])


def _check_finite(values: np.ndarray, where: str, env_id: str) -> None:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(values.astype(np.float32))
    if bad.any():
        raise checks.UserError(
            f"The environment {env_id!r} returns {values[bad][0]} among its "
            f"observations and rewards, at its {where} in a try-out. All must be "
            "finite (in float32). Correct it, or clip them in a wrapper."
        )


def _shared() -> tuple[Any, Any]:
    """The state of the process's shared random generators: NumPy's and Python's."""
    return np.random.get_state(), random.getstate()  # noqa: NPY002


def _drawn_since(before: tuple[Any, Any]) -> str:
    """The module whose shared generator has moved since `_shared`; empty if none."""
    now = _shared()
    if not all(np.array_equal(a, b) for a, b in zip(now[0], before[0], strict=True)):
        return "np.random"
    return "" if now[1] == before[1] else "the module random"


@contextlib.contextmanager
def _leaving_no_trace() -> Iterator[None]:
    """Restores the shared random generators after the block."""
    before = _shared()
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def _handle(env: gymnasium.Env, env_id: str) -> str | None:
    """The handle that prevents pickling an environment, in words."""
    try:
        pickling.save(env, env_id)
    except pickling.CannotSave:
        for layer in building.layers(env):
            for name, value in vars(layer).items():
                found = _search(value, DEPTH, set())
                if found:
                    return f"{found} in its attribute {name!r}"
    return None


def _search(value: Any, depth: int, seen: set[int]) -> str | None:
    """The type of the first handle in an object or in its attributes."""
    if isinstance(value, HANDLES):
        return type(value).__name__
    skipped = (np.ndarray, gymnasium.Env, gymnasium.Space, type, str, bytes)
    if depth == 0 or id(value) in seen or isinstance(value, skipped):
        return None
    seen.add(id(value))
    if isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    else:
        inner = list(getattr(value, "__dict__", {}).values())
    for part in inner[:1_000]:
        found = _search(part, depth - 1, seen)
        if found:
            return found
    return None
