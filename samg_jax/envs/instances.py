"""Environments of this process that are built and wait for their next use.

Reading an environment's sizes requires an instance. The instance is kept, and the next
caller takes it instead of building another one: an environment that drives a device may
be buildable only once. Training and evaluation then share and step the same instance.
"""

from __future__ import annotations

import atexit

import gymnasium

from samg_jax.envs import building

_KEPT: dict[str, tuple[object, gymnasium.Env]] = {}


def keep(env_id: str, env: gymnasium.Env) -> None:
    """Keep an instance, built without a time limit, for the next caller."""
    close(env_id)
    _KEPT[env_id] = building.find(env_id), env


def share(env_id: str) -> gymnasium.Env:
    """The kept instance, which stays kept; builds one if there is none.

    If the id has been registered again since, the old instance is closed.
    """
    spec, env = _KEPT.get(env_id, (None, None))
    if env is None or spec is not building.find(env_id):
        close(env_id)
        keep(env_id, building.make(env_id, max_episode_steps=building.NO_LIMIT))
        _, env = _KEPT[env_id]
    return env


def take(env_id: str) -> gymnasium.Env:
    """The kept instance, which then belongs to the caller; builds one if needed."""
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
