"""Build one gymnasium environment by its id, or say in one line why that fails.

Mistakes in an id, a registration or a constructor are the user's to fix and become a
`checks.UserError`, which names the line of the user's file if a constructor raises. A
bug in a user's module keeps its traceback: any exception raised while the module is
imported, except `ImportError` and exceptions that would end the program silently.
"""

from __future__ import annotations

import contextlib
import inspect
import numbers
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs import registration

from samg_jax import checks, foreign, logs
from samg_jax.envs import flat_observations, interface, lookup

MISSING = lookup.MISSING
NO_LIMIT = -1  # The value of `max_episode_steps` that removes the time limit.

find = lookup.find
not_importable = lookup.not_importable


def close(env: gymnasium.Env, env_id: str) -> None:
    """Closes an environment that is needed no more; says so if that fails.

    Nothing depends on it: the process ends, or builds another.
    """
    try:
        env.close()
    except Exception as error:
        logs.LOGGER.warning(
            "The environment %r could not be closed: %s, at %s.",
            env_id,
            foreign.named(error),
            foreign.place(error),
        )


def make(env_id: str, **kwargs: object) -> gymnasium.Env:
    """Build an environment as registered, without warnings about old versions.

    Versions are chosen on purpose here: `-v4` is the task of the D4RL data.
    Observations of a Dict space become one vector, see `FlatObservations`.

    Args:
        env_id: `ID`, or `MODULE:ID` with the module that registers it.
        **kwargs: Arguments of `gymnasium.make`, or of the constructor.
    """
    spec = find(env_id)
    _check_registration(spec, env_id)
    creator = _creator(spec, env_id)
    _check_arguments(spec, creator, kwargs, env_id)
    try:
        with warnings.catch_warnings(), ending_aloud(env_id, "constructor"):
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except checks.UserError:
        raise
    except MISSING as error:
        raise not_importable(env_id, error) from error
    except Exception as error:  # Constructors report a missing package, file or
        # device by exceptions of any type.
        if isinstance(error, TypeError) and isinstance(error.__cause__, TypeError):
            error = error.__cause__  # Gymnasium's own exception hides the line.
        if _is_refusal_of_gymnasium(error):
            raise checks.UserError(
                f"The environment {env_id!r} cannot be used: {foreign.line(error)}. "
                "Correct the environment or gymnasium.register."
            ) from error
        raise foreign.Raised(
            f"The environment {env_id!r} could not be built: its constructor raised "
            f"{foreign.named(error)} ({_place(error, creator)}). It must succeed. Fix "
            "what it says, or set another config.env_id."
        ) from error
    _check_spaces(env, env_id)
    if isinstance(env.observation_space, gymnasium.spaces.Dict):
        env = flat_observations.FlatObservations(env)
    return env


def ending_aloud(env_id: str, what: str) -> contextlib.AbstractContextManager:
    """Turns an exit of the process by an environment's code into a one-line error."""
    return foreign.ending_aloud(
        f"The {what} of the environment {env_id!r}",
        "It must raise an exception that says what is wrong, or succeed. Correct it, "
        "or set another config.env_id.",
    )


def _creator(spec: registration.EnvSpec, env_id: str) -> Callable[..., Any]:
    """The class or function that builds an environment."""
    point = spec.entry_point
    if not isinstance(point, str):
        if point is None:
            raise checks.UserError(
                f"The environment {env_id!r} is registered without an entry_point. It "
                "must be a class, a function, or 'module:Name'. Correct "
                "gymnasium.register."
            )
        return _callable(point, env_id)
    module, _, name = point.partition(":")
    if not lookup.is_module(module):
        raise checks.UserError(
            f"The environment {env_id!r} is registered with the entry_point {point!r}, "
            "which names no module. It must be a class, a function, or 'module:Name'. "
            "Correct gymnasium.register."
        )
    found = lookup.import_module(module, env_id)
    if not name or not hasattr(found, name):
        raise checks.UserError(
            f"The environment {env_id!r} is registered with the entry_point {point!r}, "
            f"but {module} has no {name!r}. {checks.hint(name, dir(found))}It must be "
            f"'{module}:NAME', a class or a function. Correct gymnasium.register."
        )
    return _callable(getattr(found, name), env_id)


def _callable(point: object, env_id: str) -> Callable[..., Any]:
    if callable(point):
        return point
    raise checks.UserError(
        f"The environment {env_id!r} is registered with "
        f"{_called(point)} as its entry_point, which cannot be called. It must be a "
        "class, a function, or 'module:Name'. Correct gymnasium.register."
    )


def _called(value: object) -> str:
    if inspect.ismodule(value):
        return f"the module {value.__name__}"
    return interface.describe(value)


def _check_registration(spec: registration.EnvSpec, env_id: str) -> None:
    """Refuses arguments that are not a dict, and an invalid time limit."""
    if not isinstance(spec.kwargs, dict):
        raise checks.UserError(
            f"The environment {env_id!r} is registered with kwargs={spec.kwargs!r}. It "
            "must be a dict of the constructor's arguments. Correct "
            "gymnasium.register."
        )
    if spec.max_episode_steps is not None:
        _check_limit(spec.max_episode_steps, env_id)


def _check_limit(limit: object, env_id: str) -> int:
    if isinstance(limit, numbers.Integral) and int(limit) >= 1 and limit is not True:
        return int(limit)
    whole = isinstance(limit, float | str) and re.fullmatch(
        r"\s*([1-9]\d*)(\.0*)?\s*", str(limit)
    )
    raise checks.UserError(
        f"The environment {env_id!r} has the time limit max_episode_steps={limit!r}. "
        "It must be an integer of at least 1, or None for no limit. Write "
        f"max_episode_steps={whole[1] if whole else 1000} in gymnasium.register."
    )


def _check_spaces(env: gymnasium.Env, env_id: str) -> None:
    """Refuses an environment without the two spaces that define all sizes."""
    for name in ("observation_space", "action_space"):
        cause = None
        try:
            space = getattr(env.unwrapped, name)
            space = getattr(env, name)
        except Exception as error:  # A property runs the user's code.
            if hasattr(type(env.unwrapped), name):
                raise foreign.Raised(
                    f"The {name} of the environment {env_id!r} cannot be read: it "
                    f"raised {foreign.named(error)} ({foreign.place(error)}). It must "
                    "be a space of gymnasium from the constructor on. Correct it."
                ) from error
            found, cause = "does not have it", error
        else:
            if isinstance(space, gymnasium.Space):
                continue
            found = f"has {_called(space)} there"
            if type(space).__module__.partition(".")[0] == "gym":
                found = "has a space of the old package gym there"
        raise checks.UserError(
            f"The environment {env_id!r} must have an {name}, a space of "
            f"gymnasium, and {found}. Set it in the constructor, as in self.{name} = "
            "gymnasium.spaces.Box(-1.0, 1.0, (3,)), for 3 numbers within 1."
        ) from cause


def _check_arguments(
    spec: registration.EnvSpec,
    creator: Callable[..., Any],
    kwargs: dict[str, object],
    env_id: str,
) -> None:
    """Refuses arguments that the constructor does not take, before calling it."""
    own = {name: value for name, value in kwargs.items() if name != "max_episode_steps"}
    try:
        signature = inspect.signature(creator)
    except (TypeError, ValueError):  # Some functions written in C have no signature.
        return
    try:
        signature.bind(**{**spec.kwargs, **own})
    except TypeError as error:
        name = getattr(creator, "__name__", str(creator))
        raise checks.UserError(
            f"The environment {env_id!r} cannot be built: {name}{signature} "
            f"{foreign.line(error)}. It is called with the registered arguments only: "
            f"{sorted({**spec.kwargs, **own}) or 'none'}. Register it with all that it "
            f"needs, as in gymnasium.register({spec.id!r}, ..., "
            "kwargs={'NAME': VALUE}), or give the arguments defaults."
        ) from error


def _is_refusal_of_gymnasium(error: Exception) -> bool:
    """Whether gymnasium's own `make` raised this, rather than code that it called."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return set(files) <= {__file__, registration.__file__}


def _place(error: Exception, creator: Callable[..., Any]) -> str:
    """The file and line that raised, preferably in the constructor's own file."""
    module = sys.modules.get(getattr(creator, "__module__", None) or "")
    return foreign.place(error, getattr(module, "__file__", None))


def time_limit(env: gymnasium.Env, spec: registration.EnvSpec) -> int | None:
    """The number of steps after which an episode is cut; None if there is no limit.

    Args:
        env: The environment, built with `NO_LIMIT`; a limit set by its constructor
            counts.
        spec: The registration from `find`.
    """
    if spec.max_episode_steps is not None:
        return _check_limit(spec.max_episode_steps, spec.id)
    for layer in layers(env):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return _check_limit(layer._max_episode_steps, spec.id)
    return None


def layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    """The wrappers from the outermost inward, then the environment itself."""
    found = [env]
    while isinstance(found[-1], gymnasium.Wrapper):
        found.append(found[-1].env)
    return found
