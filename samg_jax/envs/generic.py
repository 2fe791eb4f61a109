"""Any other gymnasium environment, a list of them stepped one after the other.

Gymnasium's own vector environments step such a list as well, but always all of it, so
that evaluation episodes could not stand still once they are over; and those that use
several processes hand no state out to be saved. So they are not used, which costs the
environments that several processes would step at once.

Their state is saved as the attributes of the environment and of its wrappers, pickled.
Parts that never change (models, spaces, renderers, links between the layers) stay out
of it, and a MuJoCo simulator is saved as its arrays. Pickles can run code when they are
loaded: restore your own states only.
"""

import io
import pickle

import gymnasium
import mujoco
import numpy as np

from samg_jax import checks
from samg_jax.envs import tasks

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_BLOCK = 4096  # Sizes are rounded up to this, so that they seldom differ.


class Simulators:
    """A list of gymnasium environments, without time limit: `VectorEnv` keeps it.

    Attributes:
        action_low: `[A]` float64.
        action_high: `[A]` float64.
        state_names: the arrays of `get_state`.
    """

    state_names = ("pickled", "pickled_sizes")

    def __init__(self, env_id: str, num_envs: int):
        self._env_id = env_id
        self._envs = [
            tasks.make_gymnasium(env_id, max_episode_steps=-1) for _ in range(num_envs)
        ]
        space = self._envs[0].action_space
        self.action_low, self.action_high = tasks.action_bounds(space, env_id)
        self._dtype = space.dtype
        self._observation_shape = self._envs[0].observation_space.shape

    def step(
        self, actions: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns observations, rewards, terminals and truncations, float64 and bool.

        Args:
            actions: `[n, A]` float64 within the bounds.
            active: `[n]` bool; the others stand still, their rows are 0.
        """
        count = len(self._envs)
        observations = np.zeros((count, *self._observation_shape))
        rewards = np.zeros(count)
        terminals, truncations = np.zeros(count, bool), np.zeros(count, bool)
        for index in np.flatnonzero(active):
            action = actions[index].astype(self._dtype)
            (
                observations[index],
                rewards[index],
                terminals[index],
                truncations[index],
                _,
            ) = self._envs[index].step(action)
        return observations, rewards, terminals, truncations

    def reset(self, index: int, seed: int | None) -> np.ndarray:
        """Returns the first observation `[O]` of a new episode of one environment."""
        observation, _ = self._envs[index].reset(seed=seed)
        return np.asarray(observation, np.float64)

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns `pickled` `[n, size]` uint8, padded with 0, and `pickled_sizes`."""
        pickled = [np.frombuffer(self._save(env), np.uint8) for env in self._envs]
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
            env.reset()  # Some wrappers refuse to step otherwise.
            _load(env, data[:size].tobytes())

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs:
            env.close()

    def _save(self, env: gymnasium.Env) -> bytes:
        layers, simulator = _layers(env), getattr(env.unwrapped, "data", None)
        buffer = io.BytesIO()
        try:
            _Pickler(buffer, _parts(env)).dump(
                {
                    "attributes": [vars(layer) for layer in layers],
                    "simulator": _save_simulator(simulator),
                }
            )
        except Exception as error:  # Pickling runs code of the environment.
            raise checks.UserError(
                f"The state of {self._env_id!r} cannot be saved: {error}. Every "
                "attribute of the environment must be picklable. Remove the one named, "
                "or define it on the class."
            ) from error
        return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """Writes the name of a part instead of the part."""

    def __init__(self, buffer: io.BytesIO, parts: dict[str, object]):
        super().__init__(buffer)
        self._names = {id(part): name for name, part in parts.items()}

    def persistent_id(self, obj: object) -> str | None:
        return self._names.get(id(obj))


class _Unpickler(pickle.Unpickler):
    """Puts in the part of the environment that a name stands for."""

    def __init__(self, buffer: io.BytesIO, parts: dict[str, object]):
        super().__init__(buffer)
        self._parts = parts

    def persistent_load(self, pid: str) -> object:
        return self._parts[pid]


def _load(env: gymnasium.Env, pickled: bytes) -> None:
    saved = _Unpickler(io.BytesIO(pickled), _parts(env)).load()
    for layer, attributes in zip(_layers(env), saved["attributes"], strict=True):
        vars(layer).clear()
        vars(layer).update(attributes)
    if saved["simulator"]:
        _load_simulator(env.unwrapped.model, env.unwrapped.data, saved["simulator"])


def _layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _parts(env: gymnasium.Env) -> dict[str, object]:
    """Returns the objects that a state refers to by name, the same for all copies."""
    parts = {}
    _ = env.spec  # Wrappers store it on first use; it must be there on both sides.
    for depth, layer in enumerate(_layers(env)):
        parts[f"layer {depth}"] = layer
        for name, value in vars(layer).items():
            fixed = (
                gymnasium.Space,
                gymnasium.envs.registration.EnvSpec,
                mujoco.MjModel,
                mujoco.MjData,
            )
            if isinstance(value, fixed) or name == "mujoco_renderer":
                parts.setdefault(f"{depth}.{name}", value)
    return parts


def _save_simulator(data: object) -> dict[str, np.ndarray] | None:
    """Returns the simulator's state and, as rewards may read them, derived arrays."""
    if not isinstance(data, mujoco.MjData):
        return None
    state = np.empty(mujoco.mj_stateSize(data.model, _STATE))
    mujoco.mj_getState(data.model, data, state, _STATE)
    return {"": state, **{name: a.copy() for name, a in _arrays(data).items()}}


def _load_simulator(
    model: mujoco.MjModel, data: mujoco.MjData, saved: dict[str, np.ndarray]
) -> None:
    mujoco.mj_resetData(model, data)
    mujoco.mj_setState(model, data, saved[""], _STATE)
    mujoco.mj_forward(model, data)
    for name, array in _arrays(data).items():
        # Lists of contacts differ in length; every step computes them anew.
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
