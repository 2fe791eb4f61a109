"""The state of any gymnasium environment as bytes, and back.

The state consists of the pickled attributes of the environment and of its wrappers.
Parts that never change (models, spaces, renderers, functions given to gymnasium's
wrappers, links between the layers) are saved by name only; loading uses those of the
environment that it loads into. MuJoCo simulators among them are saved as arrays, and
spaces by their random generators.

A pickle names the functions that rebuild it, and could name any function. `load` looks
up only plain data types, classes of the modules that the environment itself comes from,
and names that the environment's own state contains here; it imports nothing. `trust`
allows the rest. Bound methods are saved as owner and name, not as calls of `getattr`,
and only methods in the environment's own state are bound again.

The module is longer than others because the rules for names belong together, and saved
states name its path.
"""

from __future__ import annotations

import inspect
import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import gymnasium
import mujoco
import numpy as np

from samg_jax import checks, trust
from samg_jax.envs import building

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_FIXED = (
    gymnasium.Space,
    gymnasium.envs.registration.EnvSpec,
    mujoco.MjModel,
    mujoco.MjData,
)
_METHODS = (types.MethodType, types.BuiltinMethodType)
# Types of the standard library that hold data and have no effect when created.
_PLAIN = {
    "_codecs": {"encode"},
    "array": {"array", "_array_reconstructor"},
    "builtins": {
        *("bool", "bytearray", "bytes", "complex", "dict", "enumerate", "float"),
        *("frozenset", "int", "iter", "list", "object", "range", "reversed", "set"),
        *("slice", "str", "tuple", "zip"),
    },
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "itertools": {"count", "cycle", "repeat"},
    "logging": {"getLogger"},
    "pathlib": {"PosixPath", "PurePosixPath", "Path"},
    "pathlib._local": {"PosixPath", "PurePosixPath", "Path"},
    "random": {"Random"},
    "types": {"SimpleNamespace"},
    "uuid": {"UUID"},
}
# NumPy's arrays, scalars and generators, in the modules of any NumPy version.
_NUMPY = {
    *("ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"),
    *("Generator", "RandomState", "SeedSequence"),
    *("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"),
    *("__generator_ctor", "__bit_generator_ctor", "__randomstate_ctor"),
}
# Functions that run arbitrary code: a state may never call them, even if it names them.
_NEVER = {
    "_io": {"FileIO", "open", "open_code"},
    "builtins": {
        *("__build_class__", "__import__", "breakpoint", "compile", "delattr", "eval"),
        *("exec", "execfile", "getattr", "globals", "input", "open", "setattr", "vars"),
    },
    "functools": {"partialmethod", "reduce"},
    "operator": {"attrgetter", "call", "methodcaller"},
}
_NEVER_OF = {
    *("_pickle", "asyncio", "code", "codecs", "ctypes", "importlib", "io", "marshal"),
    *("multiprocessing", "nt", "os", "pickle", "pkgutil", "posix", "pty", "runpy"),
    *("shutil", "socket", "subprocess", "sys", "tempfile", "timeit", "types"),
}


class CannotSave(checks.UserError):
    """The error about a state that cannot be pickled; `reason` is short."""

    def __init__(self, env_id: str, reason: str):
        self.reason = reason
        super().__init__(
            f"The state of {env_id!r} cannot be saved: {reason}. Every attribute of "
            "the environment must be picklable. Remove the one named, or define it on "
            "the class."
        )


def save(env: gymnasium.Env, env_id: str) -> bytes:
    """The state of an environment; raises `CannotSave` if it cannot be pickled."""
    try:
        parts = _parts(env)
        return _dump(_content(env, parts), parts)
    except Exception as error:  # Pickling runs code of the environment.
        raise CannotSave(env_id, _culprit(env) or str(error)) from error


def load(env: gymnasium.Env, pickled: bytes, env_id: str) -> None:
    """Load a state into an environment, built and reset as the saved one was.

    Raises:
        checks.UserError: The state names something that it should not need.
    """
    parts = _parts(env)
    allowed = _Allowed(env, env_id)
    saved = _Unpickler(io.BytesIO(pickled), parts, allowed, allowed.bind).load()
    for layer, attributes in zip(
        building.layers(env), saved["attributes"], strict=True
    ):
        # Attributes that the saved environment did not have must not survive.
        vars(layer).clear()
        vars(layer).update(attributes)
    if saved.get("simulator"):  # Version 0.1 saved only the one it knew.
        _load_simulator(env.unwrapped.data, saved["simulator"])
    for name, arrays in saved.get("simulators", {}).items():
        _load_simulator(parts[name], arrays)
    for name, generators in saved.get("generators", {}).items():
        for space, generator in zip(_spaces(parts[name]), generators, strict=True):
            space._np_random = generator


def seed_spaces(env: gymnasium.Env, seed: int) -> None:
    """Seed the spaces of an environment, which it may sample; `reset` does not."""
    for layer in building.layers(env):
        for value in vars(layer).values():
            if isinstance(value, gymnasium.Space):
                value.seed(seed)


def _content(env: gymnasium.Env, parts: dict[str, object]) -> dict[str, Any]:
    named = {id(part): name for name, part in parts.items()}
    return {
        "attributes": [vars(layer) for layer in building.layers(env)],
        "simulators": {
            name: _save_simulator(part)
            for name, part in parts.items()
            if isinstance(part, mujoco.MjData) and named[id(part)] == name
        },
        "generators": {
            name: [space._np_random for space in _spaces(part)]
            for name, part in parts.items()
            if isinstance(part, gymnasium.Space) and named[id(part)] == name
        },
    }


def _dump(content: Any, parts: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, parts).dump(content)
    return buffer.getvalue()


def _culprit(env: gymnasium.Env) -> str:
    """The first attribute that cannot be pickled, and why; empty if there is none."""
    for layer in building.layers(env):
        for name, value in vars(layer).items():
            try:
                _dump(value, _parts(env))
            except Exception as error:
                return f"attribute {name!r} of {type(layer).__name__}: {error}"
    return ""


class _Pickler(pickle.Pickler):
    """A pickler that writes the names of the fixed parts instead of the parts."""

    def __init__(self, buffer: io.BytesIO, parts: dict[str, object]):
        super().__init__(buffer)
        self._names = {id(part): name for name, part in parts.items()}

    def persistent_id(self, obj: object) -> str | None:
        return self._names.get(id(obj))

    def reducer_override(self, obj: object) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(obj, _METHODS) and not (
            owner is None or isinstance(owner, types.ModuleType)
        ):
            name = _name_of(obj, owner)
            if name:
                return bound_method, (owner, name)
        return NotImplemented


def bound_method(owner: object, name: str) -> Callable[..., Any]:
    """The method `name` of an object's class, or of a class, bound to `owner`."""
    cls = _class_of(owner)
    metaclasses: tuple[type, ...] = inspect.getmro(type(owner)) if cls is owner else ()
    for base in (*cls.__mro__, *metaclasses):
        if name in vars(base):
            return vars(base)[name].__get__(None if cls is owner else owner, cls)
    raise pickle.UnpicklingError(f"{cls.__name__} has no method {name!r}")


def _name_of(method: Any, owner: object) -> str:
    """The name under which `bound_method` finds a method; empty if there is none."""
    cls = _class_of(owner)
    given = method.__name__
    private = [f"_{base.__name__.lstrip('_')}{given}" for base in cls.__mro__]
    for name in (given, *private):
        try:
            if bound_method(owner, name) == method:
                return name
        except Exception:  # There is no such method; descriptors can raise anything.
            continue
    return ""


class _Unpickler(pickle.Unpickler):
    """An unpickler that inserts the fixed parts, and looks up only allowed names.

    Args:
        buffer: The buffer to read.
        parts: The fixed parts by name.
        allowed: A function of module and name that raises unless these are allowed.
        bind: A function to call in place of `bound_method`.
    """

    def __init__(
        self,
        buffer: io.BytesIO,
        parts: dict[str, object],
        allowed: Callable[[str, str], Any],
        bind: Callable[[object, str], Any],
    ):
        super().__init__(buffer)
        self._parts, self._allowed, self._bind = parts, allowed, bind

    def persistent_load(self, pid: str) -> object:
        return self._parts[pid]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, bound_method.__name__):
            return self._bind
        self._allowed(module, name)
        return super().find_class(module, name)


class _Allowed:
    """Refuses names that an environment's state should not need."""

    def __init__(self, env: gymnasium.Env, env_id: str):
        self._env_id = env_id
        self._packages = {
            type(layer).__module__.partition(".")[0] for layer in building.layers(env)
        } - {"builtins", "gymnasium", "numpy", "samg_jax"}
        self._seen: set[tuple[str, str]] = set()
        self._bound: set[tuple[type, str]] = set()
        parts, seen = _parts(env), self._seen
        try:
            own = _dump(_content(env, parts), parts)
        except Exception:  # An environment that cannot be saved allows no names.
            return
        # These bytes were made here, so every name in them is the environment's own.

        def bind(owner: object, name: str) -> Any:
            self._bound.add((_class_of(owner), name))
            return bound_method(owner, name)

        _Unpickler(io.BytesIO(own), parts, lambda *name: seen.add(name), bind).load()

    def bind(self, owner: object, name: str) -> Any:
        """Bind a method that the environment's own state here contains, too."""
        cls = _class_of(owner)
        if (cls, name) not in self._bound:
            trust.require(
                f"The saved state of the environment {self._env_id!r} wants to call "
                f"{cls.__module__}.{cls.__qualname__}.{name}, a method that its own "
                "state here does not have"
            )
        return bound_method(owner, name)

    def __call__(self, module: str, name: str) -> None:
        if self._is_allowed(module, name):
            return
        trust.require(
            f"The saved state of the environment {self._env_id!r} wants to call "
            f"{module}.{name}, which is no data type and no class of its own modules"
        )

    def _is_allowed(self, module: str, name: str) -> bool:
        root = module.partition(".")[0]
        if name in _PLAIN.get(module, ()):
            return True
        if root in _NEVER_OF or name in _NEVER.get(module, ()):
            return False
        if (module, name) in self._seen:
            return True
        if root in sys.stdlib_module_names:
            return False
        if root == "numpy":
            found = getattr(sys.modules.get(module), name, None)
            scalar = isinstance(found, type) and issubclass(found, np.generic)
            return name in _NUMPY or scalar or module == "numpy.dtypes"
        if root in self._packages or module.startswith("gymnasium.spaces"):
            found = sys.modules.get(module)
            for part in name.split("."):
                found = getattr(found, part, None)
            # The type must be defined in that module, not imported into it.
            return isinstance(found, type) and found.__module__ == module
        return False


def _class_of(owner: object) -> type:
    return owner if isinstance(owner, type) else type(owner)


def _parts(env: gymnasium.Env) -> dict[str, object]:
    """The objects that a state refers to by name, equal for all copies."""
    parts: dict[str, object] = {}
    _ = env.spec  # Wrappers store it on first use; saving and loading both need it.
    for depth, layer in enumerate(building.layers(env)):
        parts[f"layer {depth}"] = layer
        # Gymnasium's wrappers take functions as arguments; these do not change.
        wraps = type(layer).__module__.startswith("gymnasium.wrappers.")
        fixed = (*_FIXED, types.FunctionType) if wraps else _FIXED
        for name, value in vars(layer).items():
            if isinstance(value, fixed) or name == "mujoco_renderer":
                parts.setdefault(f"{depth}.{name}", value)
    return parts


def _spaces(space: gymnasium.Space) -> list[gymnasium.Space]:
    """A space and the spaces inside it, each with its own random generator."""
    inner = getattr(space, "spaces", ())
    inner = inner.values() if isinstance(inner, dict) else inner
    return [space, *(found for part in inner for found in _spaces(part))]


def _save_simulator(data: mujoco.MjData) -> dict[str, np.ndarray]:
    """The simulator's state, and derived arrays, which rewards may read."""
    state = np.empty(mujoco.mj_stateSize(data.model, _STATE))
    mujoco.mj_getState(data.model, data, state, _STATE)
    return {"": state, **{name: a.copy() for name, a in _arrays(data).items()}}


def _load_simulator(data: mujoco.MjData, saved: dict[str, np.ndarray]) -> None:
    model = data.model
    mujoco.mj_resetData(model, data)
    mujoco.mj_setState(model, data, saved[""], _STATE)
    mujoco.mj_forward(model, data)
    for name, array in _arrays(data).items():
        # Contact lists differ in length, and every step computes them again.
        if name in saved and saved[name].shape == array.shape:
            array[:] = saved[name]


def _arrays(data: mujoco.MjData) -> dict[str, np.ndarray]:
    values = {
        name: getattr(data, name) for name in dir(data) if not name.startswith("_")
    }
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.dtype == np.float64
    }
