"""Scores of checkpoints: found again without the dataset, and what is refused."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

import samg_jax
from samg_jax import durable
from samg_jax.collecting import sac_collection
from samg_jax.envs import d4rl_physics, rendering, tasks
from samg_jax.results import score_tables
from samg_jax.runs import evaluation, saved_policies, scoring
from tests.fixtures import called_programs, small_disks, small_experiments, small_runs

ROOT = pathlib.Path(samg_jax.__file__).parents[1]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run of seeds 4 and 5, whose dataset is gone."""
    folder = tmp_path_factory.mktemp("evaluate")
    dataset = small_experiments.write_dataset(folder / "random.hdf5")
    small_runs.run("awac", dataset, folder / "run", seed=4, evaluation__episodes=3)
    dataset.unlink()
    return folder / "run"


@pytest.fixture
def main(monkeypatch, capsys):
    """Calls the program's main with flags, in this process; returns what it says."""

    def main(**values):
        names = [f"--{name}={value}" for name, value in values.items()]
        monkeypatch.setattr(sys, "argv", ["evaluate", *names])
        with called_programs.running("evaluate", **values) as program:
            program.main(["evaluate"])
        return capsys.readouterr().out

    return main


def cells(line):
    """Returns the numbers of a row of the table."""
    return [float(word) for word in line[14:].split()]


@pytest.mark.parametrize(
    ("folder", "phase", "said"),
    [
        (".", "online", "run/online, online, environment step 60"),
        ("online", "online", "run/online, online, environment step 60"),
        ("offline", "offline", "run/offline, offline, update 60"),
    ],
)
def test_scores_of_training_are_found_again(
    main, workdir, tmp_path, folder, said, phase
):
    out = tmp_path / "scores.json"
    text = main(checkpoint=str(workdir / folder), episodes=3, out=str(out))
    assert said in text
    for part in ("random (400 rows, a file of your own)", "Hopper-v4 (physics d4rl)"):
        assert part in text
    rows = [row for row in small_runs.evaluations(workdir) if row.phase == phase][-2:]
    report = json.loads(out.read_text())
    assert (report["phase"], report["offline_step"]) == (phase, 60)
    assert report["env_step"] == rows[0].env_step
    lines = {line[:6]: line for line in text.splitlines()}
    for row, found in zip(rows, report["scores"]["d4rl"], strict=True):
        for name in ("seed", "return_mean", "return_std", "normalized_score"):
            assert found[name] == getattr(row, name)
        assert found["episode_length"] == row.episode_length
        assert np.mean(found["returns"]) == row.return_mean
        assert cells(lines[f"seed {row.seed}"]) == [
            round(value, 1)
            for value in (
                *(row.return_mean, row.return_std, row.normalized_score),
                row.episode_length,
            )
        ]


def test_both_physics_agree_with_single_environments(main, workdir, tmp_path):
    out = tmp_path / "scores.json"
    values = {"checkpoint": str(workdir), "episodes": 2, "seed": 9, "out": str(out)}
    text = main(**values, physics="both")
    header = next(line for line in text.splitlines() if line.startswith("  "))
    assert header.split() == ["physics", "d4rl", "physics", "stock"]
    found = json.loads(out.read_text())["scores"]
    saved = saved_policies.find(str(workdir))
    restored = saved_policies.restore(saved)
    seeds = iter(evaluation.start_seeds(saved.experiment, 2, 9))
    assert set(evaluation.start_seeds(saved.experiment, 2)).isdisjoint(
        evaluation.start_seeds(saved.experiment, 2, 9)
    )
    for index in range(2):
        policy = saved_policies.of_seed(saved.experiment, restored, index)
        for episode in range(2):
            seed = next(seeds)
            for name in d4rl_physics.PHYSICS:
                env = d4rl_physics.make("Hopper-v4", name)
                observation, _ = env.reset(seed=seed)
                total, ended = 0.0, False
                while not ended:
                    action = np.clip(policy(np.float32(observation)), -1, 1)
                    observation, reward, terminal, cut, _ = env.step(np.float64(action))
                    total, ended = total + reward, terminal or cut
                returns = found[name][index]["returns"]
                assert returns[episode] == pytest.approx(total, rel=1e-3)
    assert found["d4rl"] != found["stock"]


def test_program_writes_scores_and_video(workdir, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    before = os.environ.get("MUJOCO_GL")
    try:
        rendering.choose_backend()
    except ValueError as error:
        pytest.skip(str(error))
    finally:
        if before is None:
            os.environ.pop("MUJOCO_GL", None)
    out, video = tmp_path / "new" / "scores.json", tmp_path / "new" / "episode.mp4"
    process = subprocess.run(
        [
            *(sys.executable, "-m", "samg_jax.evaluate"),
            *(f"--checkpoint={workdir}", "--episodes=2", "--video_seed=5"),
            *(f"--out={out}", f"--video={video}"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Warning" not in process.stderr
    assert set(out.parent.iterdir()) == {out, video}
    report = json.loads(out.read_text())
    assert f"--checkpoint={workdir}" in report["command"]
    assert report["versions"]["samg_jax"] == samg_jax.__version__
    # The first of the episodes that were scored.
    first = report["scores"]["d4rl"][1]["returns"][0]
    assert f"video: {video} (seed 5, physics d4rl, return {first:.1f}" in process.stdout
    assert video.stat().st_size > 1_000


# The table, from scores that are known.


def play(returns):
    returns = np.array(returns, float)
    return evaluation.Scores(returns, np.full(2, np.nan), np.array([10.0, 20.0]))


def test_sparse_tasks_have_success_rates_and_no_score_without_a_reference():
    task = tasks.Task("Maze-v0", 2, 1, 50, sparse=True)
    results = {"stock": play([[0, 0, 3, 1], [0, 0, 0, 0]])}
    alive = np.array([True, True])
    lines = score_tables.table([7, 8], alive, results, task).splitlines()
    assert lines[1].split() == ["return", "±std", "length", "success"]
    assert cells(lines[2]) == [1.0, 1.2, 10.0, 0.5]
    assert cells(lines[3]) == [0.0, 0.0, 20.0, 0.0]
    assert cells(lines[4]) == [0.5, 0.6, 15.0, 0.25]
    found = score_tables.as_json([7, 8], alive, results, task)["stock"]
    assert [seed["success_rate"] for seed in found] == [0.5, 0.0]
    assert "normalized_score" not in found[0]


def test_failed_seeds_are_marked_and_not_in_the_mean():
    task = tasks.Task("Some-v0", 2, 1, 50)
    results = {"stock": play([[1, 3], [50, 70]])}
    alive = np.array([True, False])
    lines = score_tables.table([0, 1], alive, results, task).splitlines()
    assert lines[3].endswith("failed")
    assert lines[4].endswith("of 1 that lasted")
    assert lines[4].split()[1] == "2.0"
    found = score_tables.as_json([0, 1], alive, results, task)["stock"]
    assert json.loads(json.dumps(found))[1]["failed"] is True


# What is refused.


@pytest.fixture
def refused(main, workdir, monkeypatch):
    """Returns the message with which flags are refused, before anything is read."""

    def refused(**values):
        with pytest.raises(SystemExit) as info:
            main(**{"checkpoint": str(workdir), "episodes": 2, **values})
        assert info.value.code.startswith("error: ")
        return info.value.code

    def read(*_):
        raise AssertionError("a checkpoint was read")

    monkeypatch.setattr(saved_policies, "restore", read)
    return refused


def test_folders_without_a_checkpoint_are_refused(refused, workdir, tmp_path):
    (tmp_path / "online").mkdir()
    for folder in (tmp_path, tmp_path / "missing", workdir / "tensorboard"):
        message = refused(checkpoint=str(folder))
        assert f"There is no checkpoint in {str(folder)!r}" in message
        assert "--checkpoint" in message


def test_online_checkpoint_without_its_config_is_refused(refused, workdir, tmp_path):
    shutil.copytree(workdir / "online", tmp_path / "online")
    assert str(tmp_path / "config.json") in refused(checkpoint=str(tmp_path))


def test_unknown_physics_is_refused():
    with pytest.raises(ValueError, match=r"d4rl\|stock\|both"):
        flags.FLAGS["physics"].parser.parse("mars")


@pytest.mark.parametrize("wanted", ["d4rl", "both"])
def test_undefined_physics_is_refused(wanted):
    settings = sac_collection.Settings(1, 0, 1, 1, 0.0, (8,))
    experiment = sac_collection.make_experiment("Pendulum-v1", None, 0, settings)
    assert scoring.choose_physics(experiment, None) == ["stock"]
    with pytest.raises(ValueError, match="not defined for 'Pendulum-v1'"):
        scoring.choose_physics(experiment, wanted)


def test_files_that_cannot_be_written_are_refused(refused, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "old.json").write_text("precious")
    for name, text in [
        ("scores.csv", "scores.json"),
        ("file/scores.json", "Cannot write into"),
        ("old.json", "--overwrite"),
    ]:
        assert text in refused(out=str(tmp_path / name))
    assert (tmp_path / "old.json").read_text() == "precious"
    assert "only .mp4 is written" in refused(video=str(tmp_path / "episode.avi"))


def test_seed_that_the_run_does_not_have_is_refused(refused):
    message = refused(video_seed=6)
    assert "no seed 6; it has [4, 5]" in message
    assert "--video_seed=4" in message


def test_default_physics_is_the_runs_own(workdir):
    experiment = saved_policies.find(str(workdir)).experiment
    assert scoring.choose_physics(experiment, None) == ["d4rl"]
    stock = dataclasses.replace(experiment, physics="stock")
    assert scoring.choose_physics(stock, None) == ["stock"]
    assert scoring.choose_physics(stock, "both") == ["d4rl", "stock"]


def test_scores_that_find_no_room_are_one_line_and_no_file(
    main, workdir, tmp_path, monkeypatch
):
    score = scoring.score
    with contextlib.ExitStack() as stack:

        def then_full(*given):
            found = score(*given)
            stack.enter_context(small_disks.limited(9))
            return found

        monkeypatch.setattr(scoring, "score", then_full)
        with pytest.raises(SystemExit, match="error: Cannot write into") as told:
            main(checkpoint=workdir, episodes=1, out=tmp_path / "scores.json")
    assert str(told.value).endswith(durable.AGAIN)
    assert not list(tmp_path.iterdir())
