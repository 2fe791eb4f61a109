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
from samg_jax.data import d4rl, downloads
from samg_jax.experiment import (
    datasets,
    resolve,
    setting_values,
    size_limits,
    sweeps,
    unread_fields,
)
from samg_jax.experiment.resolved import Experiment
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
        config: The config of the run.
        workdir: of the run.
        given: see `unread_fields.check`.

    Raises:
        checks.UserError: where the run would be refused.
    """
    experiment = resolve.experiment(config)
    settings, restored = experiment.settings, experiment.settings.offline.restore
    checks.can_write(workdir, "workdir=FOLDER")
    locations.check_layout(workdir)
    saved_configs.check_same_config(experiment.record, workdir)
    environments.check(experiment)
    weight_checks.check_shape(experiment)
    experiment = environments.try_out(experiment)
    idle = unread_fields.check(experiment.record, given or {})
    learned, fitted, needs_data = planned_updates(experiment)
    steps, warmup = settings.online.steps, settings.online.warmup_steps
    updates = settings.online.updates
    rows, origin, doubts = 0, "not opened: the run forks from a checkpoint", []
    if needs_data:
        rows, origin = check_dataset(experiment, workdir, doubts.append)
    mesh = devices.choose(len(experiment.seeds), settings.devices)
    experiment = dataclasses.replace(experiment, mesh=mesh)
    size_limits.check_run(experiment)
    device, host = memory(experiment, rows)
    advice = "Lower config.num_seeds, or what the config makes large."
    size_limits.memory("Data and states would take", host, advice)
    disk = disk_space.check_start(experiment, workdir)
    lines = [
        json.dumps(experiment.record, indent=2),
        "",
        f"workdir: {workdir}",
        f"seeds: {', '.join(str(seed) for seed in experiment.seeds)} in one process",
        f"devices: {devices.describe(len(experiment.seeds), mesh)}",
        f"environment: {experiment.task.env_id}, physics {experiment.physics}",
        *environments.describe(experiment.trial),
        f"offline: {learned:,} updates per seed"
        + (f", forked from {restored}" if restored else ""),
        f"{title(experiment)}: {fitted:,} updates per seed",
        *(f"sweep: {label}" for label in sweeps.labels(experiment.sweep) if label),
        f"online: {steps:,} environment steps per seed, of them {warmup:,} warm-up",
        f"online: {updates:,} updates per seed, UTD {settings.online.updates_per_step}",
        f"dataset: about {rows:,} transitions ({origin})",
        f"device memory: about {device / MEGABYTE:,.0f} MB per device",
        f"host memory: about {host / MEGABYTE:,.0f} MB",
        f"disk: at most {disk / MEGABYTE:,.0f} MB of checkpoints",
    ]
    for text in filter(None, (idle, hardware.warning(), *doubts)):
        lines.append(f"warning: {checks.with_flags(text)}")
    return "\n".join(lines)


def title(experiment: Experiment) -> str:
    """Returns what the updates of the weight are those of."""
    return "weight" if experiment.model is None else experiment.model.title


def planned_updates(experiment: Experiment) -> tuple[int, int, bool]:
    """Returns offline updates, those of the weight's model, and if data are opened."""
    fitted = 0 if experiment.model is None else experiment.model.settings.steps
    offline = experiment.settings.offline
    if not offline.restore:
        return offline.updates, fitted, True
    source = locations.find_offline(offline.restore)
    saved = forks.meta(source)
    forks.check(experiment, saved)
    start = forks.first_fit_step(experiment, saved)
    needs_data = start is not None or experiment.settings.online.reads_dataset
    return 0, 0 if start is None else fitted - start, needs_data


def check_dataset(
    experiment: Experiment,
    workdir: pathlib.Path,
    warn: Callable[[str], None],
) -> tuple[int, str]:
    """What `dataset_rows` returns, after every check of the data that the run makes.

    Args:
        experiment: The resolved experiment.
        workdir: of the run.
        warn: receives what is likely wrong with the data.
    """
    try:
        raw, source = datasets.read_rows(experiment, download=False)
    except downloads.DownloadError:
        return dataset_rows(experiment)
    origin = saved(experiment, workdir)
    identify = functools.partial(forks.check_data, experiment.settings.dataset, origin)
    dataset, *_ = datasets.prepare(experiment, raw, source, warn, identify)
    if experiment.model is None:
        weight_checks.check_on_data(experiment, None, dataset)
    return len(raw.rewards), source


def saved(experiment: Experiment, workdir: pathlib.Path) -> dict[str, Any] | None:
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
        saved_configs.check_same_run(experiment.record, found, folder)
    elif experiment.settings.offline.restore:
        found = forks.meta(locations.find_offline(experiment.settings.offline.restore))
    return found


def dataset_rows(experiment: Experiment) -> tuple[int, str]:
    """Returns the number of transitions of the dataset, and how that is known."""
    try:
        raw, source = datasets.read_rows(experiment, download=False)
    except downloads.DownloadError:
        name = d4rl.canonical_name(experiment.settings.dataset.name)
        return d4rl.FILES[name].rows, "not on disk; D4RL's number of rows"
    datasets.check_sizes(source, raw, experiment.task)
    return len(raw.rewards), source


def memory(
    experiment: Experiment, rows: int, states: int | None = None
) -> tuple[float, float]:
    """Returns the bytes on each device and on the host, for data and states.

    Activations of an update are not counted; compiled scans add a few megabytes per
    seed.

    Args:
        experiment: The resolved experiment.
        rows: of the dataset where it is opened, else 0.
        states: what `state_bytes` returns, where it is known.
    """
    task = experiment.task
    dataset = 4 * rows * (2 * task.observation_size + task.action_size + 3)
    if states is None:
        states = state_bytes(experiment)
    used = 1 if experiment.mesh is None else experiment.mesh.size
    simulators = len(sweeps.spread(experiment).seeds) * (
        1 + experiment.settings.evaluation.episodes
    )
    host = HOST_BASE + 2 * dataset + size_limits.HOST_PER_SIMULATOR * simulators
    if jax.default_backend() == "cpu":
        host += used * dataset + states
    return dataset + states / used, host


def state_bytes(experiment: Experiment) -> int:
    """Returns the bytes of the states of both phases, by tracing how they are made.

    The sums of metrics online, a few numbers per seed, are not counted.
    """
    return sum(size(state) for state in disk_space.states(experiment))


def states_key(experiment: Experiment) -> str:
    """Returns a text that is equal for two runs only if their `state_bytes` are."""
    fields = setting_values.flatten(experiment.record)
    kept = {
        name: "a number" if isinstance(value, float) else value
        for name, value in fields.items()
        if name.split(".")[0] not in STATELESS
    }
    sizes = experiment.task.observation_size, experiment.task.action_size
    return json.dumps([sizes, kept], sort_keys=True)


def size(tree) -> int:
    """Returns the bytes of all arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
