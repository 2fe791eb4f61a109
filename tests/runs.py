"""Whole small runs: started, stopped half-way, read back from their workdir."""

import io
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from samg_jax.analysis import curves, summary
from samg_jax.envs import vector
from samg_jax.training import checkpoints, experiment, forking, offline, online
from samg_jax.training import parts as parts_lib
from tests import small

# Logs, evaluations and checkpoints at different steps, so that whatever is written
# between a checkpoint and a stop must be taken back.
PERIODS = {
    "offline.log_every": 10,
    "offline.eval_every": 30,
    "online.log_every": 10,
    "online.eval_every": 25,
}


def config(name, dataset, **overrides):
    """Returns a small experiment; a dot in a field's name is written as `__`."""
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    overrides = {**PERIODS, "logging.tensorboard": False, **overrides}
    return small.config(name, dataset, overrides)


def run(name, dataset, workdir, **overrides):
    """Runs a small experiment; returns its workdir."""
    summary.report(experiment.run(config(name, dataset, **overrides), workdir))
    return workdir


# Where the arrays of `saved` hold p of the transitions in the buffer.
WEIGHTS = "['buffer']['weights']"


class Stopped(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


def stop_at(monkeypatch, place, call):
    """Makes runs stop at a call of the offline, C-VAE or online loop, from 1."""
    calls = 0

    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call:
                raise Stopped
            return function(*args, **kwargs)

        return wrapper

    if place == "online":
        monkeypatch.setattr(online, "to_feedback", counted(online.to_feedback))
        return
    name = {"offline": "make_updates", "cvae": "make_model_updates"}[place]
    make = getattr(offline, name)
    monkeypatch.setattr(offline, name, lambda *args: counted(make(*args)))


def tables(workdir):
    """Returns the bytes of both tables."""
    names = ("metrics.csv", "training.csv")
    return {name: (pathlib.Path(workdir) / name).read_bytes() for name in names}


def scores(workdir, phase="online", seeds=None):
    """Returns the lines of `metrics.csv` that belong to a phase."""
    lines = (pathlib.Path(workdir) / "metrics.csv").read_text().splitlines()[1:]
    return [
        line
        for line in lines
        if line.startswith(phase) and (not seeds or int(line.split(",")[1]) in seeds)
    ]


def evaluations(workdir):
    """Returns the rows of `metrics.csv`."""
    return curves.read(pathlib.Path(workdir) / "metrics.csv")


def training(workdir, name, phase="online"):
    """Returns `(seed, offline step, env step) -> value` of a logged quantity."""
    lines = (pathlib.Path(workdir) / "training.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    return {
        (int(row[1]), int(row[2]), int(row[3])): float(row[5])
        for row in rows
        if row[0] == phase and row[4] == name
    }


def saved(workdir, phase="online"):
    """Returns every array of the newest checkpoint, by its place in the tree."""
    folder = pathlib.Path(workdir) / phase
    step = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    with ocp.StandardCheckpointer() as reader:
        state, host = (
            _as_numpy(reader, (folder / str(step) / item).absolute())
            for item in ("state", "host")
        )
    leaves = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    with np.load(io.BytesIO(np.asarray(host["npz"]).tobytes())) as archive:
        return leaves | {f"host {name}": array for name, array in archive.items()}


def _as_numpy(reader, folder):
    """Returns what is saved in a folder, from however many devices."""
    shapes = reader.metadata(folder).item_metadata.tree
    like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
    return reader.restore(folder, like)


def assert_same_arrays(actual, expected):
    """Fails unless both hold the same names and the same bits."""
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, name, strict=True)


def assert_close_arrays(actual, expected, tolerance=1e-4):
    """Fails unless two programs learned the same, up to rounding.

    The tolerance is relative to the largest entry of an array: single entries may be
    near 0. Integers and booleans must be equal.
    """
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].shape == array.shape, name
        if array.dtype.kind != "f":
            np.testing.assert_array_equal(actual[name], array, name)
            continue
        finite = np.abs(array[np.isfinite(array)])
        atol = tolerance * finite.max(initial=0.0)
        np.testing.assert_allclose(actual[name], array, 0, atol, err_msg=name)


def offline_state(settings, folder):
    """Returns the parts, and the state of the offline checkpoint in a folder."""
    parts = parts_lib.resolve(settings)
    store = checkpoints.Store(pathlib.Path(folder))
    state, _ = store.restore(forking.template(parts))
    store.close()
    return parts, state


def online_state(settings, workdir):
    """Returns the parts, and the state of the newest online checkpoint."""
    parts = parts_lib.resolve(settings)
    count, size = len(parts.seeds), parts.task.observation_size
    like = jax.eval_shape(
        lambda empty: online.init(
            parts, settings.online, empty, np.zeros((count, size), np.float32)
        ),
        forking.template(parts),
    )
    store = checkpoints.Store(pathlib.Path(workdir) / "online")
    state, _ = store.restore(like)
    store.close()
    return parts, state


def make_env(parts, seeds=None):
    """Returns training environments, reset."""
    count = len(parts.seeds)
    env = vector.make(
        parts.task.env_id, count, seeds or list(range(count)), parts.physics, 1
    )
    env.reset()
    return env
