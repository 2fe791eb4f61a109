"""The main job on a small file of each of D4RL's fifteen names, from end to end."""

import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

import samg_jax
from samg_jax.data import d4rl
from samg_jax.envs import tasks
from samg_jax.experiment import datasets, resolve
from tests.fixtures import d4rl_files, small_experiments, small_runs

ROOT = pathlib.Path(samg_jax.__file__).parents[1]
# One algorithm per agent: files of the same shapes then compile once.
EXPERIMENTS = {
    "halfcheetah": "awac_samg",
    "hopper": "iql_samg",
    "walker2d": "cql_samg",
    "antmaze": "cal_ql_samg",
}


def keys(path):
    """Returns the names of all arrays of a file."""
    found = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, node: found.append(name) if hasattr(node, "shape") else None
        )
    return found


@pytest.mark.parametrize(
    "name",
    ["hopper-medium-v2", "walker2d-medium-replay-v2", "antmaze-umaze-diverse-v2"],
)
def test_small_files_have_the_traps_of_the_real_ones(name, tmp_path):
    path = d4rl_files.write(name, tmp_path)
    replay, sparse = "replay" in name, name.startswith("antmaze")
    found = set(keys(path))
    assert ("next_observations" in found) == (not sparse)
    assert ("infos/goal" in found) == sparse
    assert ("metadata/policy/fc0/weight" in found) == (not replay and not sparse)
    with h5py.File(path) as file:
        kind = np.float64 if replay else np.float32
        assert file["observations"].dtype == file["rewards"].dtype == kind
        assert file["terminals"].dtype == (np.float32 if sparse else bool)
        flags = file["terminals"][()].astype(bool)
        assert file["timeouts"][()].any()
    if sparse:  # Successes come in runs and do not end the episode.
        assert (flags[1:] & flags[:-1]).sum() > 5
        assert flags.mean() < 0.3


@pytest.mark.parametrize(
    "name", ["walker2d-medium-replay-v2", "antmaze-medium-play-v2"]
)
def test_a_file_in_the_cache_that_differs_is_used_and_warned_of(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    path = d4rl_files.write(name, tmp_path)
    config, warnings = small_experiments.CONFIGS["iql"](name), []
    experiment = resolve.experiment(config)
    dataset, _, source = datasets.load(experiment, str, warnings.append)
    with h5py.File(path) as file:
        kept = np.flatnonzero(~file["timeouts"][:-1])
        expected = file["observations"][()].astype(np.float32)[kept + 1]
    np.testing.assert_array_equal(dataset.next_observations, expected)
    (warning,) = warnings
    assert f"{path} is not D4RL's file of {name}" in warning
    assert "used as it is" in warning
    assert "move this one away" in warning
    assert source == f"{name} (404 rows, not as published by D4RL)"
    # The size alone shows nothing.
    original = dataclasses.replace(d4rl.FILES[name], size=path.stat().st_size)
    monkeypatch.setitem(d4rl.FILES, name, original)
    *_, source = datasets.load(experiment, str, warnings.append)
    assert source == f"{name} (404 rows, not as published by D4RL)"
    assert warnings == [warning] * 2
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    original = dataclasses.replace(original, sha256=digest)
    monkeypatch.setitem(d4rl.FILES, name, original)
    *_, source = datasets.load(experiment, str, warnings.append)
    assert source == f"{name} (404 rows, D4RL)"
    assert len(warnings) == 2


def test_antmaze_without_a_success_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    path = d4rl_files.write("antmaze-large-play-v2", tmp_path)
    with h5py.File(path, "r+") as file:
        file["rewards"][:] = 0
    config = small_experiments.CONFIGS["iql"]("antmaze-large-play")
    experiment = resolve.experiment(config)
    with pytest.raises(ValueError, match=r"All 404 rewards in .* are 0"):
        datasets.load(experiment, str, str)


@pytest.mark.slow
@pytest.mark.parametrize("name", d4rl.FILES)
def test_the_main_job_runs_on_every_dataset(name, tmp_path):
    experiment = EXPERIMENTS[name.split("-")[0]]
    (tmp_path / "cache").mkdir()
    d4rl_files.write(name, tmp_path / "cache")
    task, workdir = tasks.for_dataset(name), tmp_path / "run"
    fields = small_experiments.fields(
        experiment,
        tmp_path,
        **{"evaluation.episodes": 1, "offline.eval_every": 60, "online.eval_every": 60},
    )
    del fields["dataset.path"], fields["env_id"]
    process = subprocess.run(
        [
            *(sys.executable, "-m", "samg_jax.train"),
            f"--config=configs/{experiment}.py:{name}",
            f"--workdir={workdir}",
            *(f"--config.{key}={value}" for key, value in fields.items()),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "D4RL_DATASET_DIR": str(tmp_path / "cache")},
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    config = json.loads((workdir / "config.json").read_text())
    assert config["dataset"]["name"] == name
    assert (config["env_id"], config["physics"]) == (task.env_id, "d4rl")
    rows = small_runs.evaluations(workdir)
    places = [(row.phase, row.offline_step, row.env_step, row.seed) for row in rows]
    assert places == [
        (*place, seed)
        for place in (("offline", 60, 0), ("online", 60, 0), ("online", 60, 60))
        for seed in (0, 1)
    ]
    for row in rows:
        assert np.isfinite(row.return_mean)
        assert row.failed == 0
        score = (row.return_mean - task.ref_min) / (task.ref_max - task.ref_min)
        assert row.normalized_score == pytest.approx(100 * score)
        assert 1 <= row.episode_length <= task.max_episode_steps
        if task.sparse:
            assert row.normalized_score in (0, 100)
    assert bool(small_runs.training(workdir, "success_rate")) == task.sparse
    # The user is told that such a file is not what was published.
    log = (workdir / "log.txt").read_text()
    assert log.count("WARNING") == 1
    assert f"is not D4RL's file of {name}" in log
    assert "(404 rows, not as published by D4RL)" in log
