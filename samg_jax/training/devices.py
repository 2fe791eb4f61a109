"""The placement of a run's seeds on the devices of this machine, in equal shares.

Every device runs the program of its own seeds, and no device waits for results of
another. With one device, arrays stay where JAX creates them.
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
    """Choose the devices for the seeds; None for one device.

    Args:
        count: The number `S` of seeds, or of replicas in a sweep.
        wanted: The number of devices; 0 for the most that divide the seeds evenly.

    Raises:
        checks.UserError: Fewer devices exist, or the seeds do not divide evenly among
            them.
    """
    # JAX can shard an axis in equal parts only.
    devices = jax.local_devices()
    if wanted > len(devices):
        raise checks.UserError(
            f"config.devices is {wanted}, but this machine has {len(devices)}: "
            f"{', '.join(device.device_kind for device in devices)}. Set "
            f"config.devices={len(devices)} or fewer, or 0 to let the program choose."
        )
    if wanted and count % wanted:
        raise checks.UserError(
            f"config.devices is {wanted} with {count} seeds, but the seeds must divide "
            "evenly among the devices. Set "
            f"config.devices={largest_share(count, wanted)}, or make config.num_seeds "
            f"a multiple of {wanted}."
        )
    used = wanted or largest_share(count, len(devices))
    return None if used == 1 else Mesh(np.array(devices[:used]), (AXIS,))


def largest_share(count: int, most: int) -> int:
    """The largest divisor of `count` that is at most `most`."""
    return max(number for number in range(1, most + 1) if count % number == 0)


def describe(count: int, mesh: Mesh | None) -> str:
    """The devices, how many of them the seeds use, and whether they could use more."""
    there, used = len(jax.local_devices()), 1 if mesh is None else mesh.size
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    text = f"{hardware.describe()}; {used} of {there} for {seeds}"
    if used < there:
        text += ": seeds divide evenly; a multiple of the devices would use all of them"
    return text


def specs(state: Any) -> Any:
    """The `PartitionSpec` of every array in a phase's or an agent's state."""
    return jax.tree.map(
        lambda one: SHARED if one else OF_SEEDS, seed_axis.shared(state)
    )


def put(mesh: Mesh | None, state: T) -> T:
    """A state with each seed on its device."""
    if mesh is None:
        return jax.tree.map(jax.device_put, state)
    return jax.device_put(state, _shardings(mesh, state))


def put_shared(mesh: Mesh | None, data: T) -> T:
    """Arrays that all seeds read, copied to each device."""
    return jax.device_put(data, mesh and NamedSharding(mesh, SHARED))


def build(mesh: Mesh | None, fn: Callable[..., T], *args: Any) -> T:
    """The state `fn(*args)`, created on the devices of its seeds."""
    if mesh is None:
        return fn(*args)
    shardings = _shardings(mesh, jax.eval_shape(fn, *args))
    return jax.jit(fn, out_shardings=shardings)(*args)


def each(
    mesh: Mesh | None, fn: Callable[..., T], in_specs: Any, out_specs: Any
) -> Callable[..., T]:
    """`fn` as each device runs it on its own seeds; for use inside `jax.jit`.

    Args:
        mesh: The devices; None returns `fn` itself.
        fn: A function of arrays `[S, ...]` and shared ones; seeds must be independent.
        in_specs: A tree of specs, or a prefix of one, per argument.
        out_specs: A tree of specs for the results; shared results must be equal on all
            devices.
    """
    if mesh is None:
        return fn
    return jax.shard_map(
        fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def _shardings(mesh: Mesh, state: Any) -> Any:
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs(state))
