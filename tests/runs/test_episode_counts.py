"""Success and regret of tasks whose rewards are sparse, and nothing elsewhere."""

import math

import numpy as np
import pytest

from samg_jax.envs import tasks, vector
from samg_jax.runs import episode_counts
from tests.fixtures import small_runs, sparse_task

TASK = {"env_id": sparse_task.ENV_ID, "physics": "stock"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The file of a sparse task, which is registered meanwhile."""
    with sparse_task.registered():
        folder = tmp_path_factory.mktemp("sparse")
        yield sparse_task.write_dataset(folder / "walk.hdf5")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run on it that never stopped."""
    return small_runs.run(
        "awac", data, tmp_path_factory.mktemp("sparse") / "run", **TASK
    )


def step(rewards, dones):
    """Returns a step of two environments, of which only success and ends matter."""
    pair, rows = np.zeros(2), np.zeros((2, 1))
    ends = np.array(dones, bool)
    return vector.Step(
        rows, np.float32(rewards), ends, np.zeros(2, bool), rows, pair, pair
    )


def test_a_success_counts_wherever_its_episode_ends():
    counted = episode_counts.Episodes.empty(2, sparse=True)
    assert np.isnan(counted.regret()["regret"]).all()
    expected = [
        ([0, 1], [0, 0], (math.nan, math.nan)),
        ([0, 0], [1, 1], (1.0, 0.0)),  # The second had its goal a step before.
        ([1, 0], [1, 1], (0.5, 0.5)),  # Which does not help its next episode.
        ([1, 0], [0, 1], (0.5, 2 / 3)),
        ([0, 0], [1, 0], (1 / 3, 2 / 3)),
    ]
    for rewards, dones, regrets in expected:
        counted.add(step(rewards, dones))
        counted.take()  # What a log forgets is not the regret.
        np.testing.assert_allclose(counted.regret()["regret"], regrets)


def test_all_that_is_counted_can_be_saved():
    counted = episode_counts.Episodes.empty(2, sparse=True)
    counted.add(step([1, 0], [0, 1]))
    host = {"other": np.zeros(1), **counted.arrays()}
    restored = episode_counts.Episodes.restore(host, sparse=True)
    assert list(host) == ["other"]
    for both in (counted, restored):
        both.add(step([0, 0], [1, 1]))
    np.testing.assert_array_equal(restored.regret()["regret"], [0.0, 1.0])
    np.testing.assert_equal(restored.arrays(), counted.arrays())


def test_regret_is_the_mean_failure_over_all_training_episodes(run):
    saved = small_runs.saved(run)
    names = ("rewards", "masks", "observations", "next_observations")
    buffer = [saved[f"['buffer']['{name}']"] for name in names]
    regret = small_runs.training(run, "regret")
    # Every log, every evaluation after the switch, and each of them once.
    assert {at for _, _, at in regret} == {10, 20, 25, 30, 40, 50, 60}
    values = set()
    for (seed, _, at), value in regret.items():
        rows = [leaf[seed] for leaf in buffer]
        ended = [e for e in sparse_task.episodes(*rows) if e[-1] < at]
        failures = [max(rows[0][episode]) <= 0 for episode in ended]
        assert value == pytest.approx(np.mean(failures), abs=1e-12)
        values.add(value)
    assert len(values) > 3
    lines = (run / "training.csv").read_text().splitlines()
    assert sum(",regret," in line for line in lines) == len(regret)


def test_success_rate_is_the_share_of_evaluation_episodes_with_a_goal(run):
    evaluations = {
        (row.seed, row.offline_step, row.env_step): row.return_mean
        for row in small_runs.evaluations(run)
    }
    found = {
        **small_runs.training(run, "success_rate", "offline"),
        **small_runs.training(run, "success_rate"),
    }
    assert set(found) == set(evaluations)
    for place, rate in found.items():
        assert rate in (0.0, 0.5, 1.0)  # Of two episodes.
        assert (rate > 0) == (evaluations[place] > 0)


def test_a_resumed_run_has_the_same_regret(run, data, tmp_path):
    workdir = small_runs.as_if_killed(run, tmp_path / "run")
    small_runs.run("awac", data, workdir, **TASK)
    assert small_runs.tables(workdir) == small_runs.tables(run)
    small_runs.assert_same_arrays(small_runs.saved(workdir), small_runs.saved(run))


def test_dense_rewards_have_no_success(awac_run):
    text = (awac_run / "training.csv").read_text()
    assert "regret" not in text
    assert "success_rate" not in text
    assert not any("goals" in name for name in small_runs.saved(awac_run))


@pytest.mark.usefixtures("data")
def test_a_task_says_itself_that_it_is_sparse():
    assert tasks.for_env_id(sparse_task.ENV_ID).sparse
    assert tasks.for_dataset("antmaze-umaze").sparse
    assert not tasks.for_dataset("hopper-medium").sparse
    assert not tasks.for_env_id("Pendulum-v1").sparse
