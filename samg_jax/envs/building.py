"""One gymnasium environment by its id, or one line on why there is none.

What an id, a registration or a constructor lacks is the user's to mend, and becomes a
`checks.UserError`. A bug in a module of the user's keeps its traceback: whatever a
module raises while it is imported, except `ImportError`, and what Python itself raises
for a slip in a constructor, such as `NameError`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs import registration

from samg_jax import checks

# Python raises these for slips in code; nobody raises them to say something.
SLIPS = (AttributeError, NameError, SyntaxError, TypeError)
# What says that a package is missing.
MISSING = (ImportError, gymnasium.error.DependencyNotInstalled)
NO_LIMIT = -1  # As `max_episode_steps` of `gymnasium.make`.


def make(env_id: str, **kwargs: object) -> gymnasium.Env:
    """An environment as registered; silent about old versions.

    Versions are chosen on purpose here: `-v4` is the task of the D4RL data.
    Observations of a Dict space come as one vector, see `FlatObservations`.

    Args:
        env_id: `ID`, or `MODULE:ID` with the module that registers it.
        **kwargs: of `gymnasium.make`, or of the constructor.
    """
    spec = find(env_id)
    creator = _creator(spec, env_id)
    _check_arguments(spec, creator, kwargs, env_id)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except (checks.UserError, *SLIPS) as error:
        if _is_refusal_of_gymnasium(error):
            raise checks.UserError(
                f"The environment {env_id!r} cannot be used: {_line(error)}"
            ) from error
        raise
    except MISSING as error:
        raise not_importable(env_id, error) from error
    except Exception as error:  # Constructors run code of others, and say what they
        # lack (a package, a file, a device) by exceptions of any type.
        raise checks.UserError(
            f"The environment {env_id!r} could not be built: "
            f"{type(error).__name__}: {_line(error)} ({_place(error, creator)}). Its "
            "constructor must succeed. Mend what it says, or set another config.env_id."
        ) from error
    if isinstance(env.observation_space, gymnasium.spaces.Dict):
        env = FlatObservations(env)
    return env


def find(env_id: str) -> registration.EnvSpec:
    """The registration of an id; imports the module before its colon, if any."""
    module, colon, name = env_id.rpartition(":")
    if colon:
        _import(module, env_id)
    if name in gymnasium.registry:
        return gymnasium.registry[name]
    # Without its version an id stands for the newest one.
    versions = [
        other
        for other in gymnasium.registry
        if re.fullmatch(rf"{re.escape(name)}-v\d+", other)
    ]
    if versions:
        newest = max(versions, key=lambda other: int(other.rpartition("-v")[2]))
        return gymnasium.registry[newest]
    nearest = checks.hint(name, list(gymnasium.registry), cutoff=0.5)
    if colon:
        raise checks.UserError(
            f"The module {module!r} was imported, but registers no environment "
            f"{name!r}. {nearest}It must call gymnasium.register({name!r}, ...) while "
            "it is imported. Correct the id, or name the module that does."
        )
    raise checks.UserError(
        f"Unknown environment {env_id!r}. {nearest}Allowed are ids registered with "
        "gymnasium, which D4RL's AntMaze names and the locomotion ids are. To use your "
        "own environment, put the module that registers it, with gymnasium.register, "
        f"before a colon: config.env_id=MODULE:{name}, as in module:{name} for "
        "module.py. Python must find the module: start in its folder, or set "
        "PYTHONPATH=FOLDER."
    )


def _import(module: str, env_id: str) -> None:
    if not re.fullmatch(r"\w+(\.\w+)*", module) or module.endswith(".py"):
        name = re.sub(r"\.py$", "", module).rpartition("/")[2]
        raise checks.UserError(
            f"The environment {env_id!r} names {module!r} as the module that registers "
            "it. A module is named as Python imports it: without .py, without a "
            f"folder. Set config.env_id={name or 'MODULE'}:{env_id.rpartition(':')[2]} "
            "and PYTHONPATH=FOLDER."
        )
    try:
        importlib.import_module(module)
    except MISSING as error:
        raise not_importable(env_id, error) from error


def not_importable(env_id: str, error: Exception) -> checks.UserError:
    """What to raise if a package that an environment needs is missing."""
    return checks.UserError(
        f"The environment {env_id!r} cannot be imported: {_line(error)}. What stands "
        "before a colon is the module that registers it; others name one where they "
        "are registered. Install the package that has it, start in the folder of the "
        "module or set PYTHONPATH=FOLDER, or correct the id."
    )


def _creator(spec: registration.EnvSpec, env_id: str) -> Callable[..., Any]:
    """What is called to build an environment."""
    point = spec.entry_point
    if not isinstance(point, str):
        if point is None:
            raise checks.UserError(
                f"The environment {env_id!r} is registered without an entry_point. It "
                "must be a class, a function, or 'module:Name'. Correct "
                "gymnasium.register."
            )
        return point
    module, _, name = point.partition(":")
    try:
        found = importlib.import_module(module)
    except MISSING as error:
        raise not_importable(env_id, error) from error
    if not name or not hasattr(found, name):
        raise checks.UserError(
            f"The environment {env_id!r} is registered with the entry_point {point!r}, "
            f"but {module} has no {name!r}. {checks.hint(name, dir(found))}Correct "
            "gymnasium.register."
        )
    return getattr(found, name)


def _check_arguments(
    spec: registration.EnvSpec,
    creator: Callable[..., Any],
    kwargs: dict[str, object],
    env_id: str,
) -> None:
    """Refuses a constructor that these arguments do not suit, before it is called."""
    own = {name: value for name, value in kwargs.items() if name != "max_episode_steps"}
    try:
        signature = inspect.signature(creator)
    except (TypeError, ValueError):  # Not all that is written in C has one.
        return
    try:
        signature.bind(**{**spec.kwargs, **own})
    except TypeError as error:
        name = getattr(creator, "__name__", str(creator))
        raise checks.UserError(
            f"The environment {env_id!r} cannot be built: {name}{signature} "
            f"{_line(error)}. It is called with the registered arguments only: "
            f"{sorted({**spec.kwargs, **own}) or 'none'}. Register it with all that it "
            f"needs, as in gymnasium.register({spec.id!r}, ..., "
            "kwargs={'NAME': VALUE}), or give the arguments defaults."
        ) from error


def _is_refusal_of_gymnasium(error: Exception) -> bool:
    """Whether gymnasium's own `make` raised this `TypeError`, not what it called."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = bool(frames) and frames[-1].filename == registration.__file__
    return isinstance(error, TypeError) and inside and error.__cause__ is None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or "no message"


def _place(error: Exception, creator: Callable[..., Any]) -> str:
    """The file and line that raised, in the constructor's own file if it is there."""
    frames = traceback.extract_tb(error.__traceback__)
    module = sys.modules.get(getattr(creator, "__module__", ""))
    file = getattr(module, "__file__", None)
    own = [frame for frame in frames if frame.filename == file]
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


class FlatObservations(gymnasium.ObservationWrapper):
    """Observations of a Dict space as one vector, its parts by sorted keys.

    Gymnasium's own wrapper keeps the order of the space, which need not survive being
    written into a dataset, and holds a function, which cannot be saved.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._parts = _sorted(env.observation_space)
        self.observation_space = gymnasium.spaces.flatten_space(self._parts)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        answer = self.env.reset(**kwargs)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            return answer  # The old interface; the caller refuses it.
        return self.observation(answer[0]), answer[1]

    def step(self, action: Any) -> tuple:
        answer = self.env.step(action)
        if not (isinstance(answer, tuple) and len(answer) == 5):
            return answer
        return self.observation(answer[0]), *answer[1:]

    def observation(self, observation: dict) -> np.ndarray:
        return gymnasium.spaces.flatten(self._parts, observation)


def _sorted(space: gymnasium.Space) -> gymnasium.Space:
    if not isinstance(space, gymnasium.spaces.Dict):
        return space
    return gymnasium.spaces.Dict(
        {key: _sorted(space[key]) for key in sorted(space.spaces)}
    )


def time_limit(env: gymnasium.Env, spec: registration.EnvSpec) -> int | None:
    """The steps after which an episode is cut, None if nothing is known to cut it.

    Args:
        env: built with `NO_LIMIT`; one that its constructor sets counts.
        spec: from `find`.
    """
    if spec.max_episode_steps is not None:
        return spec.max_episode_steps
    for layer in layers(env):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return layer._max_episode_steps
    return None


def layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    """The wrappers from the outermost on, and the environment in them."""
    found = [env]
    while isinstance(found[-1], gymnasium.Wrapper):
        found.append(found[-1].env)
    return found
