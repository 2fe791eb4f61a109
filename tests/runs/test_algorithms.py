"""Every experiment, run from its start to its end at a small scale."""

import json

import jax
import numpy as np
import pytest

from samg_jax.data import transitions
from samg_jax.experiment import datasets, resolve
from samg_jax.runs import forks
from samg_jax.training import seed_axis
from tests.fixtures import small_experiments, small_runs, toy_problems


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """Returns a function name -> workdir of a finished run, made once each."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "run"
            made[name] = small_runs.run(name, dataset, folder)
        return made[name]

    return get


# AWAC is run by the tests of forking and resuming, guided IQL and CQL by those of
# protocols, CQL by those of the program, Cal-QL by those of its online returns.
@pytest.mark.parametrize("name", ["iql", *small_experiments.BASELINES])
def test_an_experiment_trains_offline_and_online(name, run):
    workdir = run(name)
    rows = small_runs.evaluations(workdir)
    assert {row.phase for row in rows} == {"offline", "online"}
    assert not any(row.failed for row in rows)
    assert json.loads((workdir / "config.json").read_text())["online"]["steps"] == 60


def test_the_actors_rate_falls_offline_and_rises_online(run):
    offline = small_runs.training(run("iql"), "actor_learning_rate", "offline")
    online = small_runs.training(run("iql"), "actor_learning_rate", "online")
    # Logged every 10 updates: their mean.
    steps = np.arange(120).reshape(12, 10)
    expected = (1.5e-4 * (1 + np.cos(np.pi * steps / 60))).mean(axis=1)
    for seed in (0, 1):
        actual = [offline[seed, step, 0] for step in range(10, 70, 10)]
        actual += [online[seed, 60, step] for step in range(10, 70, 10)]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-12)


def test_spot_cools_its_penalty_and_never_trains_its_behavior_model_again(run):
    workdir = run("spot")
    offline, online = (
        small_runs.saved(workdir, phase) for phase in ("offline", "online")
    )
    vae = [name for name in offline if name.startswith("['agent']['vae']")]
    assert vae
    for name in vae:
        np.testing.assert_array_equal(offline[name], online[name])
    assert online["['agent']['step']"] == 120
    assert online["['agent']['online_step']"] == 60
    weights = small_runs.training(workdir, "support_weight")
    # Reported every second update; the last ten of sixty are at the floor.
    np.testing.assert_allclose(weights[0, 60, 60], 0.1 * 0.2, rtol=1e-5)
    assert weights[0, 60, 10] > weights[0, 60, 20] > weights[0, 60, 40]


def test_critics_of_unequal_depth_are_pre_trained_frozen_and_fine_tuned(
    dataset, tmp_path, monkeypatch
):
    changes = {"agent__second_critic_hidden_dims": (16, 16)}
    workdir = small_runs.run("cql_samg", dataset, tmp_path / "run", **changes)
    assert not any(row.failed for row in small_runs.evaluations(workdir))
    state = small_runs.saved(workdir)
    for place in ("['agent']['target_critic']", "['guidance']['offline']"):
        layers = {
            critic: [
                name
                for name in state
                if name.startswith(f"{place}['params']['{critic}']")
            ]
            for critic in ("Critic_0", "Critic_1")
        }
        assert [len(names) for names in layers.values()] == [4, 6]  # With biases.
    # A fork that was stopped fine-tunes bit for bit as the run that never stopped.
    changes["offline__restore"] = str(workdir)
    with monkeypatch.context() as patch:
        small_runs.stop_at(patch, "online", 47)
        with pytest.raises(small_runs.Stopped):
            small_runs.run("cql_samg", dataset, tmp_path / "fork", **changes)
    fork = small_runs.run("cql_samg", dataset, tmp_path / "fork", **changes)
    small_runs.assert_same_arrays(small_runs.saved(fork), state)
    assert small_runs.scores(fork) == small_runs.scores(workdir)
    with pytest.raises(ValueError, match=r"second_critic_hidden_dims: \[16, 16\] in"):
        small_runs.run(
            "cql_samg", dataset, tmp_path / "equal", offline__restore=str(workdir)
        )


def test_counters_and_preprocessing_are_shared_and_nothing_else_is(dataset):
    experiment = resolve.experiment(small_experiments.config("spot", dataset))
    state = forks.template(experiment)
    shared = {
        jax.tree_util.keystr(path)
        for path, axis in jax.tree_util.tree_leaves_with_path(
            seed_axis.axes(state), is_leaf=lambda leaf: leaf is None
        )
        if axis is None
    }
    fitted = {name for name in shared if name.startswith(".preprocessing.")}
    assert len(fitted) > 3
    assert shared - fitted == {".agent.step", ".agent.online_step"}


def test_an_iql_fork_keeps_the_length_of_its_schedule_but_may_drop_it(run, dataset):
    def fork(**changes):
        settings = small_runs.config(
            "iql", dataset, offline__restore=str(run("iql")), **changes
        )
        experiment = resolve.experiment(settings)
        source = run("iql") / "offline"
        forks.check(experiment, forks.meta(source))
        return experiment, source

    with pytest.raises(ValueError, match=r"offline\.updates: 60 in .*, 61 now"):
        fork(offline__updates=61)
    experiment, source = fork(offline__updates=61, agent__actor_schedule="constant")
    state, _ = forks.restore(experiment, source, None)
    agent = seed_axis.select(state.agent, 0)
    batch = toy_problems.random_batch(np.random.default_rng(0), 4, 11, 3)
    key = jax.random.key(0)
    after, metrics = jax.jit(experiment.online.update)(agent, batch, key)
    np.testing.assert_allclose(metrics["actor_learning_rate"], 3e-4, rtol=1e-6)
    assert jax.tree.structure(after) == jax.tree.structure(agent)


def test_cal_ql_bounds_failures_on_antmaze_by_the_value_of_failing_for_ever():
    experiment = resolve.experiment(
        small_experiments.CONFIGS["cal_ql"]("antmaze-umaze")
    )
    rewards = np.float32([0, 0, 1, 0, 0, 0, 0])
    observations = np.arange(7, dtype=np.float32)[:, None]
    data = transitions.Dataset(
        observations=observations,
        actions=observations,
        rewards=rewards,
        next_observations=observations + 1,
        masks=1 - rewards,
        mc_returns=np.zeros(7, np.float32),
    )
    transform = datasets.fit_reward_transform(experiment.settings.dataset, data)
    actual = datasets.with_returns(experiment, data, transform).mc_returns
    expected = [-5.0495, -0.05, 5, -500, -500, -500, -500]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)

    # Rewards of other tasks are dense: what was seen is summed.
    experiment = resolve.experiment(
        small_experiments.CONFIGS["cal_ql"]("walker2d-medium")
    )
    transform = datasets.fit_reward_transform(experiment.settings.dataset, data)
    actual = datasets.with_returns(experiment, data, transform).mc_returns
    np.testing.assert_allclose(actual, [0.9801, 0.99, 1, 0, 0, 0, 0], rtol=1e-6)


def test_bc_leaves_out_what_follows_the_last_whole_segment(dataset):
    settings = small_experiments.config("bc", dataset)
    dropped = datasets.load(resolve.experiment(settings), lambda _: None)[0]
    settings.dataset.drop_unfinished = False
    whole = datasets.load(resolve.experiment(settings), lambda _: None)[0]
    ends = np.flatnonzero(whole.masks == 0)
    assert len(dropped.rewards) == ends[-1] + 1 < len(whole.rewards)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b[: len(a)]), dropped, whole
    )
