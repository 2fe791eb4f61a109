"""Sizes that no machine or counter can hold, refused before anything is built.

The memory is a lower bound by arithmetic alone, so that a billion seeds or layers take
no time to refuse; what is near the bound is then estimated exactly, see `estimate`.
"""

from __future__ import annotations

import itertools
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from samg_jax import checks
from samg_jax.experiment import setting_values

COUNTERS = 2**31  # JAX counts steps and updates in 32 bits.
NUMBER = 4  # Bytes of a float32.
# Parameters and the two moments of Adam.
COPIES = 3
# A simulator with its data, for any of the locomotion models.
HOST_PER_SIMULATOR = 0.4e6
# What a size usually is at most, by the last part of its name.
USUAL = {
    "num_seeds": 64,
    "hidden_dims": 256,
    "actor_hidden_dims": 256,
    "critic_hidden_dims": 256,
    "second_critic_hidden_dims": 256,
    "vae_hidden_dims": 750,
    "num_samples": 10,
    "batch_size": 1024,
    "buffer_size": 10_000_000,
    "episodes": 100,
    "hidden_dim": 400,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "layers": 2,
    "latent_size": 24,
    "embedding_size": 32,
    "references": 8_192,
}
CGROUPS = pathlib.Path("/sys/fs/cgroup")
GIGABYTE = 1e9


def machine_memory() -> float:
    """Bytes that this process may use: the machine's, or less in a container."""
    limits = [math.inf]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for path in _cgroup_limits():
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # Otherwise `max`: there is no limit.
            limits.append(float(text))
    return min(limits)


def _cgroup_limits() -> list[pathlib.Path]:
    """Files with the memory limits of the groups that this process is in."""
    try:
        lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = [CGROUPS / "memory.max", CGROUPS / "memory/memory.limit_in_bytes"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version_2 = not controllers
        root = CGROUPS if version_2 else CGROUPS / "memory"
        name = "memory.max" if version_2 else "memory.limit_in_bytes"
        if version_2 or "memory" in controllers.split(","):
            place = pathlib.PurePosixPath(path.lstrip("/"))
            found += [root / place / name, *(root / up / name for up in place.parents)]
    return found


def check(
    fields: Mapping[str, Any], observation_size: int = 1, action_size: int = 1
) -> None:
    """Refuses counters beyond 32 bits, and sizes beyond the machine's memory.

    Args:
        fields: dotted name -> value, of a run's whole config.
        observation_size: of its environment; 1 while that is not known.
        action_size: likewise.
    """
    check_counters(fields)
    needs = least_bytes(fields, observation_size, action_size)
    name = largest(fields)
    memory(f"{describe(fields, name)} would take", sum(needs.values()), lower(name))


def check_run(experiment: Any) -> None:
    """Does the same with the sizes of the environment, and for the devices' memory.

    Args:
        experiment: The resolved experiment, with the devices chosen.
    """
    fields = setting_values.flatten(experiment.record)
    sizes = experiment.task.observation_size, experiment.task.action_size
    check(fields, *sizes)
    there = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if not there:
        return  # A processor's memory is the machine's.
    used = 1 if experiment.mesh is None else experiment.mesh.size
    needs = least_bytes(fields, *sizes)
    needs.pop("evaluation.episodes")  # Simulators are on the host.
    name, needed = largest(fields), sum(needs.values())
    if needed > there * used:
        raise checks.UserError(
            f"{describe(fields, name)} would take at least {needed / GIGABYTE:,.0f} GB "
            f"on {used} devices of {there / GIGABYTE:,.0f} GB. {lower(name)}"
        )


def check_weight(
    where: str,
    config: Mapping[str, Any],
    observation_size: int,
    action_size: int,
) -> None:
    """Refuses counters and sizes of a weight's model alone, as `check` does of a run.

    Args:
        where: the words that begin the message: what asks for this weight.
        config: of the experiment that it belongs to, complete.
        observation_size: of its environment.
        action_size: likewise.
    """
    fields = setting_values.flatten(config)
    own = {name: fields[name] for name in fields if name.startswith("guidance.")}
    own["num_seeds"] = fields["num_seeds"]
    for name, value in own.items():
        if type(value) is int:
            count(f"{where}config.{name}", value)
    sizes = observation_size, action_size
    needed = sum(_of_weight(fields, fields["num_seeds"], *sizes).values())
    name = largest(own)
    memory(f"{where}{describe(own, name)} would take", needed, f"Lower config.{name}.")


def largest(fields: Mapping[str, Any]) -> str:
    """The field that is the farthest above what is usual: the one to lower."""
    above = {}
    for name, value in fields.items():
        size = max(value, default=0) if isinstance(value, tuple) else value
        usual = USUAL.get(name.split(".")[-1])
        if usual and type(size) is int:
            above[name] = size / usual
    return max(above, key=above.get)


def describe(fields: Mapping[str, Any], name: str) -> str:
    """A field and the number of seeds that it is multiplied by, in words."""
    seeds = fields["num_seeds"]
    text = f"config.{name} {fields[name]}"
    return text if name == "num_seeds" else f"{text} with {seeds:,} seeds"


def lower(name: str) -> str:
    """What to do about a size: lower it, or the number of seeds that it is for."""
    others = "" if name == "num_seeds" else ", or config.num_seeds"
    return f"Lower config.{name}{others}."


def memory(what: str, needed: float, advice: str) -> None:
    """Refuses what needs more than the memory of the machine."""
    there = machine_memory()
    if needed > there:
        raise checks.UserError(
            f"{what} at least {needed / GIGABYTE:,.0f} GB of memory; this machine "
            f"allows {there / GIGABYTE:,.0f} GB. {advice}"
        )


def count(name: str, value: int) -> None:
    """Refuses a number of steps that 32 bits cannot count."""
    if value >= COUNTERS:
        raise checks.UserError(
            f"{name} is {value}; it must be below 2**31, which is as far as counters "
            f"of 32 bits go. Lower {name}."
        )


def check_counters(fields: Mapping[str, Any]) -> None:
    """Refuses integers, and sums of updates, that 32 bits cannot count."""
    for name, value in fields.items():
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        whole = [number for number in numbers if type(number) is int]
        if name != "seed" and whole:
            count(f"config.{name}", max(whole))
    online = max(fields["online.steps"] - fields["online.warmup_steps"], 0)
    online *= fields["online.updates_per_step"]
    updates = fields["offline.updates"] + online
    if updates >= COUNTERS:
        raise checks.UserError(
            f"config.offline.updates {fields['offline.updates']} and "
            f"config.online.steps with config.online.updates_per_step make {updates:,} "
            "updates; all together must be below 2**31, which is as far as counters of "
            "32 bits go. Lower one of them."
        )


def replicas(fields: Mapping[str, Any]) -> int:
    """The number of replicas of fine-tuning: seeds times combinations of a sweep."""
    values = [len(text.split(",")) for text in fields.get("sweep", ())]
    return fields["num_seeds"] * math.prod(values)


def least_bytes(
    fields: Mapping[str, Any], observations: int, actions: int
) -> dict[str, float]:
    """Field -> bytes that its arrays take at least, of all seeds.

    Args:
        fields: of the whole config.
        observations: size of one.
        actions: likewise.
    """
    seeds, online = fields["num_seeds"], replicas(fields)
    row = NUMBER * (2 * observations + actions + 4)
    needs = {"num_seeds": float(NUMBER * seeds)}
    widest = 0
    for name, widths in fields.items():
        if name.startswith("agent.") and name.endswith("hidden_dims") and widths:
            count = dense((observations, *widths, actions))
            needs[name] = float(NUMBER * COPIES * seeds * count)
            widest = max(widest, sum(widths))
    samples = fields.get("agent.num_samples", 1)
    for phase, count in (("offline", seeds), ("online", online)):
        if fields["online.steps" if phase == "online" else "offline.updates"]:
            batch = fields[f"{phase}.batch_size"] * count
            # Rows, and the activations that a gradient needs.
            name = f"{phase}.batch_size"
            needs[name] = float(batch * (row + NUMBER * samples * widest))
    if fields["online.steps"]:
        rows = min(fields["online.buffer_size"], fields["online.steps"])
        needs["online.buffer_size"] = float(online * rows * row)
    episodes = fields["evaluation.episodes"]
    needs["evaluation.episodes"] = HOST_PER_SIMULATOR * online * (1 + episodes)
    needs |= _of_weight(fields, seeds, observations, actions)
    return needs


def _of_weight(
    fields: Mapping[str, Any], seeds: int, observations: int, actions: int
) -> dict[str, float]:
    """The same of the model of the weight."""
    weight = fields["guidance.weight"]
    group = f"guidance.{weight}."
    if f"{group}hidden_dim" not in fields:
        return {}
    width, batch = fields[f"{group}hidden_dim"], fields[f"{group}batch_size"]
    layers = [name for name in fields if name.startswith(group) and "layers" in name]
    needs = {}
    for name in layers:
        count = (fields[name] or 1) - 1
        inner = width * (observations + actions) + count * width**2
        needs[name] = float(NUMBER * COPIES * seeds * inner)
        batched = f"{group}batch_size"
        added = NUMBER * seeds * batch * (observations + width * (count + 1))
        needs[batched] = needs.get(batched, 0.0) + float(added)
    for name in ("latent_size", "embedding_size"):
        size = fields.get(group + name)
        if size:
            needs[group + name] = float(NUMBER * COPIES * seeds * size * width)
    if fields.get("guidance.kind") == "nearest":
        latent = fields.get(f"{group}latent_size") or 1
        codes = NUMBER * seeds * fields.get("guidance.references", 0) * latent
        needs["guidance.references"] = float(codes)
    return needs


def dense(widths: tuple[int, ...]) -> int:
    """The number of weights of a network with these layers."""
    return sum(a * b for a, b in itertools.pairwise(widths))
