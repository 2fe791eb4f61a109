"""The seeds of a run, shared out evenly to the devices of this machine.

Every device runs the program of its own seeds, and none waits for what another one
computes. With one device nothing here does anything: arrays stay where JAX makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from samg_jax import checks
from samg_jax.training import hardware, seed_axis

T = TypeVar("T")

AXIS = "seeds"
OF_SEEDS = PartitionSpec(AXIS)
SHARED = PartitionSpec()


def choose(count: int, wanted: int) -> Mesh | None:
    """Returns the devices that share out the seeds; None for one.

    Args:
        count: `S` of seeds, or of places in a sweep.
        wanted: the number of devices; 0 for the most that divide the seeds evenly.

    Raises:
        checks.UserError: if fewer devices exist, or the seeds do not divide evenly
            among them.
    """
    devices = jax.local_devices()
    if wanted > len(devices):
        raise checks.UserError(
            f"config.devices is {wanted}, but this machine has {len(devices)}: "
            f"{', '.join(device.device_kind for device in devices)}. Set "
            f"config.devices={len(devices)} or fewer, or 0 for what there is."
        )
    if wanted and count % wanted:
        raise checks.UserError(
            f"config.devices is {wanted} with {count} seeds, but all devices take "
            f"equally many. Set config.devices={largest_share(count, wanted)}, or "
            f"make config.num_seeds a multiple of {wanted}."
        )
    used = wanted or largest_share(count, len(devices))
    return None if used == 1 else Mesh(np.array(devices[:used]), (AXIS,))


def largest_share(count: int, most: int) -> int:
    """Returns the largest divisor of `count` that is at most `most`."""
    return max(number for number in range(1, most + 1) if count % number == 0)


def describe(count: int, mesh: Mesh | None) -> str:
    """The devices, how many of them the seeds are on, and if more could be used."""
    there, used = len(jax.local_devices()), 1 if mesh is None else mesh.size
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    text = f"{hardware.describe()}; {used} of {there} for {seeds}"
    if used < there:
        text += ": all take equally many; a multiple of the devices would use them all"
    return text


def specs(state: Any) -> Any:
    """Returns the `PartitionSpec` of every array of a phase's or an agent's state."""
    return jax.tree.map(
        lambda one: SHARED if one else OF_SEEDS, seed_axis.shared(state)
    )


def put(mesh: Mesh | None, state: T) -> T:
    """Returns the state with every seed on its device."""
    if mesh is None:
        return jax.tree.map(jax.device_put, state)
    return jax.device_put(state, _shardings(mesh, state))


def put_shared(mesh: Mesh | None, data: T) -> T:
    """Returns arrays that all seeds read, with one copy on each device."""
    return jax.device_put(data, mesh and NamedSharding(mesh, SHARED))


def build(mesh: Mesh | None, fn: Callable[..., T], *args: Any) -> T:
    """Returns the state `fn(*args)`, made where its seeds are."""
    if mesh is None:
        return fn(*args)
    shardings = _shardings(mesh, jax.eval_shape(fn, *args))
    return jax.jit(fn, out_shardings=shardings)(*args)


def each(
    mesh: Mesh | None, fn: Callable[..., T], in_specs: Any, out_specs: Any
) -> Callable[..., T]:
    """Returns `fn` run by every device on its own seeds; for use inside `jax.jit`.

    Args:
        mesh: None for `fn` as it is.
        fn: of arrays `[S, ...]`, and shared ones; no seed may depend on another.
        in_specs: one tree of specs, or a prefix of it, per argument.
        out_specs: likewise of the results; what is shared must be equal everywhere.
    """
    if mesh is None:
        return fn
    return jax.shard_map(
        fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def _shardings(mesh: Mesh, state: Any) -> Any:
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs(state))
