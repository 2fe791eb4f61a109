"""Built environments that wait for their next use in this process.

Reading an environment's sizes needs an instance. It is kept, and the next who wants
one takes it instead of building another: what drives a device may be buildable only
once. Such an environment is shared: training and evaluation step the same instance.
"""

from __future__ import annotations

import atexit

import gymnasium

from samg_jax.envs import building

_KEPT: dict[str, tuple[object, gymnasium.Env]] = {}


def keep(env_id: str, env: gymnasium.Env) -> None:
    """Keeps an instance, built without time limit, for whoever asks next."""
    close(env_id)
    _KEPT[env_id] = building.find(env_id), env


def share(env_id: str) -> gymnasium.Env:
    """The kept instance, which stays kept; built if there is none.

    An instance of an id that has been registered anew since is closed.
    """
    spec, env = _KEPT.get(env_id, (None, None))
    if env is None or spec is not building.find(env_id):
        close(env_id)
        keep(env_id, building.make(env_id, max_episode_steps=building.NO_LIMIT))
        _, env = _KEPT[env_id]
    return env


def take(env_id: str) -> gymnasium.Env:
    """The kept instance, which is the caller's from here on; built if there is none."""
    env = share(env_id)
    del _KEPT[env_id]
    return env


def close(env_id: str) -> None:
    """Closes the kept instance, if there is one."""
    _, env = _KEPT.pop(env_id, (None, None))
    if env is not None:
        building.close(env, env_id)


@atexit.register
def close_all() -> None:
    """Closes all kept instances, so that another process can build them."""
    for env_id in list(_KEPT):
        close(env_id)
