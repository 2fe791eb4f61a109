"""Checks of gymnasium's interface: the results of an environment's `reset` and `step`.

Each check returns the value in the form that the simulators use, or says in one line
what was returned and what is required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from samg_jax import checks

SLACK = 1e-5  # Relative tolerance, because bounds and observations may be rounded.


def reset(answer: Any, env_id: str) -> tuple[Any, Mapping]:
    """Observation and info; refuses anything but such a pair."""
    found = describe(answer)
    if isinstance(answer, tuple | list) and len(answer) == 2:
        if isinstance(answer[1], Mapping):
            return answer[0], answer[1]
        found = f"{describe(answer[1])} as info"
    raise refusal(
        env_id, f"reset returns {found}", "return observation, info", old=True
    )


def step(answer: Any, env_id: str) -> tuple[Any, float, bool, bool]:
    """Observation, reward, terminated, truncated; refuses anything but five values."""
    if not (isinstance(answer, tuple | list) and len(answer) == 5):
        raise refusal(
            env_id,
            f"step returns {describe(answer)}",
            "return observation, reward, terminated, truncated, info",
            old=True,
        )
    observation, reward, terminal, truncated, info = answer
    if not isinstance(info, Mapping):
        raise refusal(env_id, f"step returns {describe(info)} as info", "a dict")
    return (
        observation,
        number(reward, "reward", env_id),
        flag(terminal, "terminated", env_id),
        flag(truncated, "truncated", env_id),
    )


def observation(
    value: Any, shape: tuple[int, ...], where: str, env_id: str
) -> np.ndarray:
    """An observation as float64, in the shape of its space.

    Args:
        value: The value that the environment returned.
        shape: The shape of its space.
        where: The method that returned it.
        env_id: The id, for the error.
    """
    array = _array(value)
    if array is None or array.dtype.kind not in "biuf":
        raise refusal(
            env_id,
            f"{where} returns {describe(value)} as observation",
            f"numbers of the shape {shape}, that of its observation_space",
        )
    one = array.size == 1 and shape == (1,)
    if not (array.shape == shape or one):
        raise refusal(
            env_id,
            f"{where} returns an observation of the shape {array.shape} and type "
            f"{array.dtype}",
            f"numbers of the shape {shape}, that of its observation_space",
        )
    return array.reshape(shape).astype(np.float64)


def number(value: Any, name: str, env_id: str) -> float:
    """A number, or the single number in an array."""
    array = _array(value)
    if array is None or array.size != 1 or array.dtype.kind not in "biufO":
        raise refusal(
            env_id,
            f"step returns {describe(value)} as {name}",
            "one number, or an array of one number",
        )
    try:
        return float(array.item())
    except (TypeError, ValueError) as error:
        raise refusal(
            env_id, f"step returns {describe(value)} as {name}", "one number"
        ) from error


def flag(value: Any, name: str, env_id: str) -> bool:
    """A boolean, also given as 0 or 1, or as an array of one element."""
    array = _array(value)
    single = array is not None and array.size == 1 and array.dtype.kind in "biuf"
    if not single or array.item() not in (0, 1):
        raise refusal(
            env_id, f"step returns {describe(value)} as {name}", "True or False"
        )
    return bool(array.item())


def part(space: gymnasium.Space, value: Any, name: str, env_id: str) -> None:
    """Refuses a part of a structured observation that its space cannot flatten.

    Args:
        space: The space of the part.
        value: The value that the environment returned.
        name: The name of the part, such as `observation['arm']`.
        env_id: The id, for the error.
    """
    if isinstance(space, gymnasium.spaces.Dict):
        keys = sorted(space.spaces, key=str)
        if not isinstance(value, Mapping):
            raise refusal(
                env_id, f"its {name} is {describe(value)}", f"a dict with {keys}"
            )
        missing = [key for key in keys if key not in value]
        if missing:
            raise refusal(
                env_id,
                f"its {name} has the keys {sorted(value, key=str)}",
                f"a dict with {keys}, the keys of its observation_space",
            )
        for key in keys:
            part(space[key], value[key], f"{name}[{key!r}]", env_id)
    elif isinstance(space, gymnasium.spaces.Tuple):
        count = len(space.spaces)
        if not isinstance(value, tuple | list) or len(value) != count:
            raise refusal(
                env_id, f"its {name} is {describe(value)}", f"a tuple of {count}"
            )
        for place, inner in enumerate(space.spaces):
            part(inner, value[place], f"{name}[{place}]", env_id)
    elif isinstance(space, gymnasium.spaces.Box):
        array = _array(value)
        fits = array is not None and array.shape == space.shape
        if not fits or array.dtype.kind not in "biuf":
            raise refusal(
                env_id,
                f"its {name} is {describe(value)}",
                f"numbers of the shape {space.shape}, that of its space",
            )
    elif not space.contains(value):
        raise refusal(
            env_id,
            f"its {name} is {describe(value)} that its space does not contain",
            f"one of {space}",
        )


def outside(space: gymnasium.spaces.Box, observation: np.ndarray) -> str:
    """The first number of an observation `[O]` outside its space, or nothing."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    slack = SLACK * np.maximum(1.0, np.abs(observation))
    bad = (observation < low - slack) | (observation > high + slack)
    if space.dtype.kind in "biu":
        bad |= observation != np.round(observation)
    if not bad.any():
        return ""
    first = int(bad.argmax())
    if low[first] <= observation[first] <= high[first]:
        return (
            f"number {first} of an observation is {observation[first]:g}, but its "
            f"observation_space is of integers, {space.dtype}"
        )
    return (
        f"number {first} of an observation is {observation[first]:g}, outside its "
        f"observation_space, [{low[first]:g}, {high[first]:g}]"
    )


def describe(value: Any) -> str:
    """A value in words: its type and its size."""
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype.kind in "biuf" else f" and type {value.dtype}"
        return f"an array of the shape {value.shape}{kind}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, bool | int | float | np.number):
        return f"the number {value}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def refusal(
    env_id: str, found: str, allowed: str, old: bool = False
) -> checks.UserError:
    """The error about an environment that violates the interface.

    Args:
        env_id: The id of the environment.
        found: What it does.
        allowed: What it must do or return.
        old: Whether it may follow the interface of the old gym.
    """
    remedy = "; for an environment of the old gym, the package shimmy has a wrapper"
    return checks.UserError(
        f"The environment {env_id!r} does not follow gymnasium's interface: "
        f"{found}; it must be `{allowed}`. Correct it{remedy * old}."
    )


def _array(value: Any) -> np.ndarray | None:
    """A value as an array; None if impossible, as for rows of different lengths."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError):  # A tensor on a GPU raises this, for example.
        return None
