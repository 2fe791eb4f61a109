"""Runs on one and on four devices, compared by `training/test_devices.py`.

A program, because the number of devices is fixed when JAX starts:
XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m tests.four_devices DATA OUT
"""

import dataclasses
import functools
import json
import pathlib
import re
import sys

import jax
import ml_collections
import numpy as np
import pytest

from samg_jax.training import devices, offline, online
from samg_jax.training import parts as parts_lib
from tests import probe, runs

COLLECTIVE = re.compile(r"all-gather|all-reduce|all-to-all|collective|reduce-scatter")


def complete_runs(dataset: pathlib.Path, out: pathlib.Path) -> None:
    """Runs an experiment on one device, and one that moves from four to one."""
    changes = {"num_seeds": 4, "online__overlap": True}
    runs.run("awac_samg", dataset, out / "one", devices=1, **changes)
    with pytest.MonkeyPatch.context() as patch:
        runs.stop_at(patch, "online", 47)
        with pytest.raises(runs.Stopped):
            runs.run("awac_samg", dataset, out / "moved", devices=4, **changes)
    runs.run("awac_samg", dataset, out / "moved", devices=1, **changes)


def draws(dataset: pathlib.Path, count: int) -> dict[str, np.ndarray]:
    """Returns what every update was handed, offline and online, on `count` devices."""
    settings = runs.config("awac_samg", dataset, num_seeds=4, guidance__weight="random")
    mesh = devices.choose(4, count)
    parts = dataclasses.replace(probe.parts(settings, 16), mesh=mesh)
    rows = devices.put_shared(mesh, probe.dataset(300, parts.task))
    state = devices.put(mesh, offline.init(parts, probe.preprocessing(parts.task)))
    update, seen = offline.make_updates(parts, 16), []
    for step in range(5):
        state, _ = update(state, rows, step, length=1)
        seen.append(jax.device_get(state.agent))
    first = np.zeros((4, parts.task.observation_size), np.float32)
    state = devices.put(mesh, online.init(parts, settings.online, state, first))
    take = online.make_step(parts, settings.online)
    rng = np.random.default_rng(0)
    for _ in range(5):
        rewards = rng.normal(size=4).astype(np.float32)
        feedback = online.Feedback(rewards, first, np.ones_like(rewards), first)
        state = take(state, feedback, None, 1)
        seen.append(jax.device_get((state.agent, state.actions)))
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(seen))}


def few_steps(dataset: pathlib.Path, count: int) -> tuple[dict, dict]:
    """Returns arrays after a few calls of both phases, offline data kept.

    Also where the arrays are, and what the compiled programs do.
    """
    settings = runs.config("awac", dataset, num_seeds=4)
    mesh = devices.choose(4, count)
    parts = dataclasses.replace(parts_lib.resolve(settings), mesh=mesh)
    data, preprocessing, _ = parts_lib.load_dataset(settings, parts.task, str)
    rows = devices.put_shared(mesh, data)
    begin = functools.partial(offline.init, parts)
    state = devices.build(mesh, begin, preprocessing)
    update = offline.make_updates(parts, 16)
    for step in range(2):
        arguments = state, rows, 5 * step
        first_program = update.lower(*arguments, length=5)
        state, _ = update(*arguments, length=5)
    first = np.zeros((4, parts.task.observation_size), np.float32)
    switch = functools.partial(online.init, parts, settings.online)
    state = devices.build(mesh, switch, state, first)
    take = online.make_step(parts, settings.online)
    feedback = online.Feedback(first[:, 0], first, first[:, 0], first)
    for _ in range(3):
        before, arguments = state, (state, feedback, rows, 1)
        second_program = take.lower(*arguments)
        state = take(*arguments)
    lowered = (first_program, second_program) if mesh else ()
    texts = [program.compile().as_text() for program in lowered]
    arrays = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    return arrays, {
        "collectives": [found for text in texts for found in COLLECTIVE.findall(text)],
        "partitions": [re.findall(r"num_partitions=(\d+)", text) for text in texts],
        "programs": [update._cache_size(), take._cache_size()],
        "donated": all(leaf.is_deleted() for leaf in jax.tree.leaves(before.buffer)),
        "seeds_per_device": shapes(state.buffer.rewards),
        "agent_per_device": shapes(state.agent.actor.params["params"]["log_std"]),
        "rows_per_device": shapes(rows.rewards),
        "rows": len(data.rewards),
        "shared": shapes(state.agent.step),
    }


def shapes(array: jax.Array) -> list:
    """Returns the shapes of an array's pieces, by device."""
    return [list(piece.data.shape) for piece in array.addressable_shards]


def choices(dataset: pathlib.Path) -> dict:
    """Returns how many devices are chosen, or why none."""
    found = {}
    for count, wanted in [(8, 0), (6, 0), (5, 0), (1, 0), (6, 2), (6, 4), (8, 5)]:
        try:
            mesh = devices.choose(count, wanted)
            found[f"{count} {wanted}"] = 1 if mesh is None else mesh.size
        except ValueError as error:
            found[f"{count} {wanted}"] = str(error)
    found["message"] = devices.describe(6, devices.choose(6, 0))
    swept = runs.config("awac_samg", dataset, num_seeds=1, online__steps=60)
    with swept.unlocked():
        swept.sweep = ("guidance.threshold=0,0.3,0.5,0.9",)
    run = runs.experiment.Run(swept, parts_lib.resolve(swept), None, None, None)
    run.writer = ml_collections.ConfigDict({"places": []})
    run.spread()
    found["sweep"] = run.parts.mesh.size
    return found


def main(dataset: pathlib.Path, out: pathlib.Path) -> None:
    """Writes everything under `out`."""
    for count in (1, 4):
        np.savez(out / f"draws_{count}.npz", **draws(dataset, count))
        arrays, inspection = few_steps(dataset, count)
        np.savez(out / f"few_{count}.npz", **arrays)
    found = {"inspection": inspection, "choices": choices(dataset)}
    (out / "found.json").write_text(json.dumps(found))
    complete_runs(dataset, out)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
