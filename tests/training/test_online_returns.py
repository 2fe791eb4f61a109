"""Returns-to-go of online episodes, for the Cal-QL that keeps its bound."""

import dataclasses

import numpy as np
import pytest

from samg_jax.data import transitions
from samg_jax.envs import vector
from samg_jax.training import offline_phase, online_phase, online_returns
from tests.fixtures import recording_algorithm, small_runs, sparse_task

TASK = {
    "env_id": sparse_task.ENV_ID,
    "physics": "stock",
    "dataset__reward_transform": "affine",
    "dataset__reward_scale": 10.0,
    "dataset__reward_bias": -5.0,
    # By chance such a policy reaches the goal within its few steps.
    "agent__actor_hidden_dims": (16, 16),
    "agent__critic_hidden_dims": (16, 16),
}
KEPT = {**TASK, "agent__calibrated_online": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The file of a sparse task, which is registered meanwhile."""
    with sparse_task.registered():
        folder = tmp_path_factory.mktemp("sparse")
        yield sparse_task.write_dataset(folder / "walk.hdf5")


class Stage:
    """The online phase with the probe on the real task; notes what it experiences."""

    def __init__(self, data, is_sparse=True, **overrides):
        overrides = {"online__data": "buffer", **KEPT, **overrides}
        self.settings = small_runs.config("cal_ql", data, **overrides)
        experiment = recording_algorithm.experiment(
            self.settings, self.settings.online.batch_size
        )
        self.task = dataclasses.replace(experiment.task, sparse=is_sparse)
        self.experiment = dataclasses.replace(experiment, task=self.task)
        self.transform = transitions.RewardTransform.affine(10.0, -5.0)
        preprocessing = recording_algorithm.preprocessing(self.task).replace(
            reward_transform=self.transform
        )
        self.env = vector.make(sparse_task.ENV_ID, 2, [0, 1], "stock")
        pretrained = offline_phase.init(self.experiment, preprocessing)
        self.state = online_phase.init(
            self.experiment, self.settings.online, pretrained, self.env.reset()
        )
        self.take = online_phase.make_step(self.experiment, self.settings.online)
        self.finish = online_returns.make_finisher(
            self.experiment, self.settings.online
        )
        self.expected = [[], []]
        self.episodes = [[], []]

    def step(self):
        outcome = self.env.step(np.asarray(self.state.actions))
        env_step = online_phase.to_env_step(outcome)
        self.state = self.take(self.state, env_step, None, 1)
        self.state = self.finish(self.state, outcome)
        for seed in range(2):
            self.expected[seed].append(-np.inf)
            self.episodes[seed].append((outcome.rewards[seed], env_step.masks[seed]))
            if outcome.dones[seed]:
                returns = self.returns(*np.float32(self.episodes[seed]).T)
                self.expected[seed][-len(returns) :] = returns
                self.episodes[seed] = []
        return outcome

    def returns(self, rewards, masks):
        """Returns an episode's returns as those of a file with nothing else in it."""
        rewards = np.float32(self.transform(rewards))
        ends = np.arange(len(rewards)) == len(rewards) - 1
        discount = self.experiment.online.config.discount
        failure = -5.0 if self.task.sparse else None
        return transitions.returns_to_go(rewards, masks, ends, discount, failure)


# A ring of 4 is shorter than the longest episode, one of 11 turns within episodes.
@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize("rows", [4, 11, 60])
def test_the_buffer_has_the_returns_to_go_of_finished_episodes(rows, is_sparse, data):
    stage = Stage(data, is_sparse, online__buffer_size=rows)
    apart = 0
    for count in range(1, 61):
        outcome = stage.step()
        apart += outcome.dones.sum() == 1
        stored = np.asarray(stage.state.buffer.mc_returns)
        for seed in range(2):
            expected = np.zeros(rows, np.float32)
            for number, value in list(enumerate(stage.expected[seed]))[-rows:]:
                expected[number % rows] = value
            np.testing.assert_array_equal(stored[seed], expected, str(count))
    stage.env.close()
    assert apart > 5  # The seeds' episodes end at different times.
    values = np.concatenate(stage.expected)
    # A sum of what was seen is not as low as to fail for ever.
    assert (values == np.float32(-5.0 / 0.01)).any() == is_sparse
    assert ((values > -100) & (values < 0)).any()


def test_two_small_programs_serve_all_episodes_and_write_in_place(data):
    # Of a size that no other test has.
    stage = Stage(data, online__buffer_size=59)
    before = online_returns.read._cache_size(), online_returns.write._cache_size()
    places = set()
    for _ in range(60):
        stage.step()
        places.add(stage.state.buffer.mc_returns.unsafe_buffer_pointer())
    stage.env.close()
    after = online_returns.read._cache_size(), online_returns.write._cache_size()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)
    assert len(places) == 1


def test_without_it_nothing_is_called_and_nothing_written(data):
    stage = Stage(data, agent__calibrated_online=False)
    for _ in range(20):
        state = stage.state
        outcome = stage.step()
        assert stage.finish(state, outcome) is state
    np.testing.assert_array_equal(stage.state.buffer.mc_returns, 0.0)
    stage.env.close()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run that keeps its calibration and never stopped."""
    return small_runs.run(
        "cal_ql", data, tmp_path_factory.mktemp("kept") / "run", **KEPT
    )


def test_a_run_has_the_returns_of_its_episodes(run, data):
    settings = small_runs.config("cal_ql", data, **KEPT)
    saved = small_runs.saved(run)
    names = ("rewards", "masks", "observations", "next_observations", "mc_returns")
    buffer = [saved[f"['buffer']['{name}']"] for name in names]
    values = set()
    for seed in range(2):
        *rows, mc_returns = (leaf[seed] for leaf in buffer)
        expected = np.full(60, -np.inf, np.float32)
        for episode in sparse_task.episodes(*rows):
            ends = np.array(episode) == episode[-1]
            rewards, masks = (leaf[episode] for leaf in rows[:2])
            expected[episode] = transitions.returns_to_go(
                rewards * 10 - 5, masks, ends, settings.agent.discount, -5.0
            )
        np.testing.assert_array_equal(mc_returns, expected)
        values |= set(mc_returns.tolist())
    assert {-np.inf, 5.0} < values
    assert min(values - {-np.inf}) == pytest.approx(-500)


def test_a_stopped_run_continues_bit_for_bit(run, data, tmp_path):
    workdir = small_runs.as_if_killed(run, tmp_path / "run")
    small_runs.run("cal_ql", data, workdir, **KEPT)
    assert small_runs.tables(workdir) == small_runs.tables(run)
    small_runs.assert_same_arrays(small_runs.saved(workdir), small_runs.saved(run))


def test_keeping_the_bound_changes_fine_tuning_and_nothing_before(run, data, tmp_path):
    small_runs.run("cal_ql", data, tmp_path, **TASK)
    assert small_runs.scores(tmp_path, "offline") == small_runs.scores(run, "offline")
    small_runs.assert_same_arrays(
        small_runs.saved(tmp_path, "offline"), small_runs.saved(run, "offline")
    )
    default, kept = (
        small_runs.training(tmp_path, "penalty"),
        small_runs.training(run, "penalty"),
    )
    assert default != kept
    assert np.isfinite(list(kept.values())).all()
    np.testing.assert_array_equal(
        small_runs.saved(tmp_path)["['buffer']['mc_returns']"], 0.0
    )
