"""The pairs on which weights are judged."""

import numpy as np
import pytest

from samg_jax.data import d4rl, transitions
from samg_jax.diagnosis import judged_pairs
from samg_jax.experiment import resolve
from tests.fixtures import small_experiments


@pytest.fixture(scope="module")
def experiment(dataset):
    return resolve.experiment(small_experiments.config("awac_samg", dataset))


@pytest.fixture
def familiar(dataset):
    view = transitions.q_learning_view(d4rl.load(dataset))
    return judged_pairs.take(view, np.arange(100))


def test_only_the_actions_are_replaced_and_they_stay_in_bounds(familiar):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=familiar.actions.shape)
    uniform = judged_pairs.with_uniform_actions(familiar, rng)
    noisy = [
        judged_pairs.with_noise(familiar, level, noise)
        for level in judged_pairs.NOISE_LEVELS
    ]
    for changed in (uniform, *noisy):
        np.testing.assert_array_equal(changed.observations, familiar.observations)
        assert changed.actions.dtype == np.float32
        assert np.abs(changed.actions).max() <= 1.0
        assert not np.array_equal(changed.actions, familiar.actions)
    distances = [np.abs(other.actions - familiar.actions).mean() for other in noisy]
    assert distances == sorted(distances)
    expected = np.clip(familiar.actions + 0.3 * noise, -1, 1)
    np.testing.assert_allclose(noisy[2].actions, expected, rtol=1e-6)


def test_pairs_of_a_random_policy_follow_one_another(experiment):
    found = judged_pairs.of_random_policy(experiment, 45, np.random.default_rng(0))
    assert [len(field) for field in found] == [45] * 3
    envs = judged_pairs.ROLLOUT_ENVS
    follows = (found.next_observations[:-envs] == found.observations[envs:]).all(axis=1)
    assert follows.mean() > 0.7  # Where no episode ended.
    assert np.abs(found.actions).max() <= 1.0
    assert found.actions.std() == pytest.approx(1 / np.sqrt(3), abs=0.1)


def test_pairs_of_another_file_are_rows_of_it(experiment, dataset, tmp_path):
    found, name = judged_pairs.of_dataset(
        experiment, str(dataset), 50, np.random.default_rng(0)
    )
    assert name == dataset.stem
    rows = d4rl.load(dataset).observations
    assert len(found.actions) == 50
    assert all((rows == row).all(axis=1).any() for row in found.observations)
    rng = np.random.default_rng(0)
    by_name, name = judged_pairs.of_dataset(experiment, "hopper-demo", 20, rng)
    assert (len(by_name.actions), name) == (20, "hopper-demo")
    for level in ("hopper-random", "hopper-expert-v2"):
        with pytest.raises(ValueError, match=r"a level of D4RL, .*give its path"):
            judged_pairs.of_dataset(experiment, level, 20, rng)
    # As D4RL calls the file of such a level, which is read like any other.
    file = small_experiments.write_dataset(tmp_path / "hopper_random-v2.hdf5", 50)
    _, name = judged_pairs.of_dataset(experiment, str(file), 20, rng)
    assert name == "hopper_random-v2"


def test_other_data_that_do_not_fit_or_exist_are_refused(experiment, tmp_path):
    rng = np.random.default_rng(0)
    other = small_experiments.write_dataset(tmp_path / "c.hdf5", 20, "HalfCheetah-v4")
    with pytest.raises(
        ValueError, match=r"c\.hdf5, .* of size 17 .* Hopper-v4, has 11"
    ):
        judged_pairs.of_dataset(experiment, str(other), 10, rng)
    with pytest.raises(ValueError, match="No dataset file"):
        judged_pairs.of_dataset(experiment, "missing.hdf5", 10, rng)
    with pytest.raises(ValueError, match="Did you mean 'hopper-demo'"):
        judged_pairs.of_dataset(experiment, "hoper-demo", 10, rng)
