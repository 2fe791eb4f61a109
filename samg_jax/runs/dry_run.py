"""What a run would do and need, without doing it."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections

from samg_jax import checks
from samg_jax.data import d4rl, downloads, sampling
from samg_jax.experiment import (
    config_checks,
    resolution,
    size_limits,
    sweeps,
    unread_fields,
)
from samg_jax.experiment.resolution import Parts
from samg_jax.runs import (
    checkpoints,
    disk_space,
    environments,
    forks,
    locations,
    saved_configs,
    weight_checks,
)
from samg_jax.training import devices, hardware

MEGABYTE = 1e6
# Python, JAX and the compiler at its peak, measured on a CPU-only machine.
HOST_BASE = 1_000 * MEGABYTE
# Fields of a config on which the size of no state depends; nor does it on a float.
STATELESS = (
    "compilation_cache",
    "dataset",
    "devices",
    "env_id",
    "evaluation",
    "logging",
    "matmul_precision",
    "offline",
    "physics",
    "seed",
)


def describe(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    given: Mapping[str, Any] | None = None,
) -> str:
    """Returns the resolved config, the updates per phase, UTD, and memory.

    Args:
        config: of the run; completed in place.
        workdir: of the run.
        given: see `unread_fields.check`.

    Raises:
        checks.UserError: where the run would be refused.
    """
    resolution.complete(config)
    config_checks.check(config)
    checks.can_write(workdir, "workdir=FOLDER")
    locations.check_layout(workdir)
    saved_configs.check_same_config(config, workdir)
    parts = resolution.resolve(config)
    environments.check(config, parts.task)
    weight_checks.check_shape(parts)
    parts = environments.try_out(parts, config.get("single_env"))
    idle = unread_fields.check(config, given or {})
    learned, fitted, needs_data = planned_updates(config, parts)
    steps, warmup = config.online.steps, config.online.warmup_steps
    updates = parts.run.online.updates
    rows, origin, doubts = 0, "not opened: the run forks from a checkpoint", []
    if needs_data:
        rows, origin = check_dataset(config, parts, workdir, doubts.append)
    mesh = devices.choose(len(parts.seeds), config.devices)
    parts = dataclasses.replace(parts, mesh=mesh)
    size_limits.check_run(config, parts)
    device, host = memory(config, parts, rows)
    advice = "Lower config.num_seeds, or what the config makes large."
    size_limits.memory("Data and states would take", host, advice)
    disk = disk_space.check_start(config, parts, workdir)
    lines = [
        json.dumps(config.to_dict(), indent=2),
        "",
        f"workdir: {workdir}",
        f"seeds: {', '.join(str(seed) for seed in parts.seeds)} in one process",
        f"devices: {devices.describe(len(parts.seeds), mesh)}",
        f"environment: {parts.task.env_id}, physics {parts.physics}",
        *environments.describe(parts.trial),
        f"offline: {learned:,} updates per seed"
        + (f", forked from {config.offline.restore}" if config.offline.restore else ""),
        f"{title(parts)}: {fitted:,} updates per seed",
        *(f"sweep: {label}" for label in sweeps.labels(parts.sweep) if label),
        f"online: {steps:,} environment steps per seed, of them {warmup:,} warm-up",
        f"online: {updates:,} updates per seed, UTD {config.online.updates_per_step}",
        f"dataset: about {rows:,} transitions ({origin})",
        f"device memory: about {device / MEGABYTE:,.0f} MB per device",
        f"host memory: about {host / MEGABYTE:,.0f} MB",
        f"disk: at most {disk / MEGABYTE:,.0f} MB of checkpoints",
    ]
    for text in filter(None, (idle, hardware.warning(), *doubts)):
        lines.append(f"warning: {checks.with_flags(text)}")
    return "\n".join(lines)


def title(parts: Parts) -> str:
    """Returns what the updates of the weight are those of."""
    return "weight" if parts.model is None else parts.model.title


def planned_updates(
    config: ml_collections.ConfigDict, parts: Parts
) -> tuple[int, int, bool]:
    """Returns offline updates, those of the weight's model, and if data are opened."""
    fitted = 0 if parts.model is None else parts.model.settings.steps
    if not config.offline.restore:
        return config.offline.updates, fitted, True
    source = locations.find_offline(config.offline.restore)
    saved = forks.meta(source)
    forks.check(config, parts, saved)
    start = forks.first_fit_step(parts, saved)
    needs_data = start is not None or sampling.needs_dataset(config.online)
    return 0, 0 if start is None else fitted - start, needs_data


def check_dataset(
    config: ml_collections.ConfigDict,
    parts: Parts,
    workdir: pathlib.Path,
    warn: Callable[[str], None],
) -> tuple[int, str]:
    """What `dataset_rows` returns, after every check of the data that the run makes.

    Args:
        config: of the run, complete.
        parts: of the same.
        workdir: of the run.
        warn: receives what is likely wrong with the data.
    """
    try:
        raw, source = resolution.read_rows(config, download=False)
    except downloads.DownloadError:
        return dataset_rows(config, parts)
    identify = functools.partial(forks.check_data, config, saved(config, workdir))
    dataset, *_ = resolution.prepare(config, parts.task, raw, source, warn, identify)
    if parts.model is None:
        weight_checks.check_on_data(parts, None, dataset)
    return len(raw.rewards), source


def saved(
    config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> dict[str, Any] | None:
    """The description of the checkpoint that the run goes on from, None without one."""
    online, offline = (workdir / phase for phase in ("online", "offline"))
    found = None
    if locations.steps(online):
        try:
            found = forks.meta(online)
        except checkpoints.UnreadableError:
            found = forks.meta_before(offline)
            if found is None:
                raise
    elif locations.steps(offline):
        found = forks.meta(offline)
    if found is not None:
        folder = offline if saved_configs.is_offline(found, "online") else online
        saved_configs.check_same_run(config, found, folder)
    elif config.offline.restore:
        found = forks.meta(locations.find_offline(config.offline.restore))
    return found


def dataset_rows(config: ml_collections.ConfigDict, parts: Parts) -> tuple[int, str]:
    """Returns the number of transitions of the dataset, and how that is known."""
    try:
        raw, source = resolution.read_rows(config, download=False)
    except downloads.DownloadError:
        rows = d4rl.FILES[d4rl.canonical_name(config.dataset.name)].rows
        return rows, "not on disk; D4RL's number of rows"
    resolution.check_sizes(source, raw, parts.task)
    return len(raw.rewards), source


def memory(
    config: ml_collections.ConfigDict,
    parts: Parts,
    rows: int,
    states: int | None = None,
) -> tuple[float, float]:
    """Returns the bytes on each device and on the host, for data and states.

    Activations of an update are not counted; compiled scans add a few megabytes per
    seed.

    Args:
        config: of the run, complete.
        parts: of the same.
        rows: of the dataset where it is opened, else 0.
        states: what `state_bytes` returns, where it is known.
    """
    task = parts.task
    dataset = 4 * rows * (2 * task.observation_size + task.action_size + 3)
    if states is None:
        states = state_bytes(config, parts)
    used = 1 if parts.mesh is None else parts.mesh.size
    simulators = len(sweeps.spread(parts).seeds) * (1 + config.evaluation.episodes)
    host = HOST_BASE + 2 * dataset + size_limits.HOST_PER_SIMULATOR * simulators
    if jax.default_backend() == "cpu":
        host += used * dataset + states
    return dataset + states / used, host


def state_bytes(config: ml_collections.ConfigDict, parts: Parts) -> int:
    """Returns the bytes of the states of both phases, by tracing how they are made.

    The sums of metrics online, a few numbers per seed, are not counted.
    """
    return sum(size(state) for state in disk_space.states(config, parts))


def states_key(config: ml_collections.ConfigDict, parts: Parts) -> str:
    """Returns a text that is equal for two runs only if their `state_bytes` are."""
    fields = config_checks.flatten(config.to_dict())
    kept = {
        name: "a number" if isinstance(value, float) else value
        for name, value in fields.items()
        if name.split(".")[0] not in STATELESS
    }
    sizes = parts.task.observation_size, parts.task.action_size
    return json.dumps([sizes, kept], sort_keys=True)


def size(tree) -> int:
    """Returns the bytes of all arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
