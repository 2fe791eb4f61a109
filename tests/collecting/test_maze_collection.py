"""Collecting AntMaze data: what a file holds, and that everything can use it."""

import h5py
import numpy as np
import pytest

from samg_jax.collecting import maze_collection, recording
from samg_jax.data import d4rl, plausibility, transitions
from samg_jax.envs import d4rl_physics, mazes, tasks
from samg_jax.results import run_summary
from samg_jax.runs import lifecycle
from tests.fixtures import small_experiments, small_runs

ENV_ID = "antmaze-umaze-v2"
MAZE = mazes.MAZES["umaze"]
EPISODE = 701  # One row more than the time limit, as in D4RL's files.
STEPS = 2 * EPISODE + 250


@pytest.fixture(scope="module")
def collected():
    """Two episodes and a part of one, and attributes that describe them."""
    return maze_collection.collect(ENV_ID, "d4rl", "fixed", STEPS, seed=0)


@pytest.fixture(scope="module")
def file(collected, tmp_path_factory):
    """The file of these rows."""
    path = tmp_path_factory.mktemp("maze") / "umaze.hdf5"
    recording.write(path, *collected)
    return path


def test_the_file_has_the_keys_of_d4rl(file, collected):
    found = {}
    with h5py.File(file) as written:
        written.visititems(
            lambda key, item: (
                found.update({key: (item.shape, item.dtype)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert found == {
        "observations": ((STEPS, 29), np.float32),
        "actions": ((STEPS, 8), np.float32),
        "rewards": ((STEPS,), np.float32),
        "terminals": ((STEPS,), np.float32),
        "timeouts": ((STEPS,), bool),
        "infos/qpos": ((STEPS, 15), np.float32),
        "infos/qvel": ((STEPS, 14), np.float32),
        "infos/goal": ((STEPS, 2), np.float32),
    }
    raw = d4rl.load(file)
    for key in recording.KEYS:
        np.testing.assert_array_equal(getattr(raw, key), collected[0][key])
    assert raw.attributes == {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in collected[1].items()
    }


def test_the_checks_of_files_of_ones_own_find_nothing(file):
    found = []
    raw, task = d4rl.load_own(file), tasks.for_env_id(ENV_ID)
    plausibility.check("file", raw, task, (), found.append)
    assert found == []


def test_episodes_last_one_row_longer_than_the_limit(collected):
    ends = np.flatnonzero(collected[0]["timeouts"])
    np.testing.assert_array_equal(ends, [EPISODE - 1, 2 * EPISODE - 1, STEPS - 1])


def test_rows_follow_each_other(collected):
    rows, _ = collected
    after = np.concatenate([rows["infos/qpos"], rows["infos/qvel"]], axis=1)
    goes_on = ~rows["timeouts"][:-1]
    np.testing.assert_array_equal(
        after[:-1][goes_on], rows["observations"][1:][goes_on]
    )
    starts = rows["observations"][[0, EPISODE, 2 * EPISODE]]
    assert (np.abs(starts[:, :2]) <= 0.1).all()
    assert len(np.unique(starts, axis=0)) == 3


def test_rows_are_what_the_simulator_does(collected):
    rows, _ = collected
    env = d4rl_physics.make(ENV_ID).unwrapped
    env.reset()
    errors = []
    for row in range(0, STEPS, 25):
        state = rows["observations"][row].astype(np.float64)
        env.set_state(state[:15], state[15:])
        after = env.step(rows["actions"][row])[0]
        errors.append(np.abs(after[:15] - rows["infos/qpos"][row]).max())
    # Rounding and the solver's warm start are all that differs.
    assert np.quantile(errors, 0.9) < 1e-3


def test_actions_are_noisy_and_bounded(collected):
    rows, _ = collected
    calm, _ = maze_collection.collect(ENV_ID, "d4rl", "fixed", 250, 0, 0.0)
    assert np.abs(rows["actions"]).max() == 1.0
    # The first action answers to the same start.
    np.testing.assert_array_equal(rows["observations"][0], calm["observations"][0])
    noise = rows["actions"][0] - calm["actions"][0]
    assert np.any(noise != 0.0)
    assert np.abs(noise).max() < 1.0


def test_rewards_and_terminals_are_for_one_goal_and_come_in_runs(collected):
    rows, described = collected
    goal = described["task_goal"]
    assert ((goal >= MAZE.goal) & (goal <= MAZE.goal + 1.5)).all()
    expected = [
        float(sum((xy - goal) ** 2) <= 0.5**2)
        for xy in rows["infos/qpos"][:, :2].astype(np.float64)
    ]
    np.testing.assert_array_equal(rows["rewards"], expected)
    np.testing.assert_array_equal(rows["terminals"], expected)
    first = int(np.argmax(expected))
    assert expected[first : first + 2] == [1.0, 1.0]  # The episode goes on.
    assert not rows["timeouts"][first]
    pursued = [rows["infos/goal"][k : k + EPISODE] for k in range(0, STEPS, EPISODE)]
    assert [len(np.unique(goals, axis=0)) for goals in pursued] == [1, 1, 1]
    every = [tuple(goals[0]) for goals in pursued] + [tuple(np.float32(goal))]
    assert len(set(every)) == 4


def test_the_controller_reaches_its_goals(collected):
    rows, described = collected
    distances = np.linalg.norm(rows["infos/qpos"][:, :2] - rows["infos/goal"], axis=1)
    reached = [
        (distances[start : start + EPISODE] <= 0.5).any()
        for start in range(0, STEPS, EPISODE)
    ]
    assert described["episodes"] == 3
    assert described["success_rate"] == np.mean(reached) == 1.0


def test_same_seed_gives_the_same_rows(collected):
    rows, _ = collected
    again, _ = maze_collection.collect(ENV_ID, "d4rl", "fixed", 300, seed=0)
    for key, values in again.items():
        # The last row, where it was cut off, is a timeout now.
        np.testing.assert_array_equal(values[:-1], rows[key][:299])
    other, _ = maze_collection.collect(ENV_ID, "d4rl", "fixed", 300, seed=1)
    assert not np.array_equal(other["observations"], again["observations"])


@pytest.mark.parametrize("level", ["play", "diverse"])
def test_other_levels_start_anywhere_and_diverse_leads_anywhere(level):
    rows, _ = maze_collection.collect(ENV_ID, "d4rl", level, 3 * EPISODE, seed=2)
    firsts = np.arange(0, 3 * EPISODE, EPISODE)
    starts = MAZE.cells(rows["observations"][firsts, :2])
    goals = MAZE.cells(rows["infos/goal"][firsts])
    assert len(np.unique(starts, axis=0)) > 1
    assert (goals == MAZE.cells(MAZE.goal)).all() == (level == "play")
    off_center = rows["infos/goal"][firsts] - MAZE.centers(goals)
    assert ((off_center >= 0) & (off_center <= 1.5)).all()


def test_data_without_any_reward_are_refused():
    with pytest.raises(ValueError, match="None of the 30 rows") as info:
        maze_collection.collect(ENV_ID, "d4rl", "fixed", 30, seed=0)
    for text in ("reaches the goal at", "with steps=N", "with seed=N"):
        assert text in str(info.value)


@pytest.mark.parametrize(
    ("env_id", "level"),
    [
        (ENV_ID, "fixed"),
        ("antmaze-umaze-diverse-v2", "diverse"),
        ("antmaze-medium-play-v2", "play"),
        ("antmaze-large-diverse-v2", "diverse"),
    ],
)
def test_the_level_of_a_name_is_what_d4rl_collected(env_id, level):
    assert maze_collection.default_level(env_id) == level


def test_returns_to_go_count_the_steps_to_the_next_success(file, collected):
    data = transitions.q_learning_view(d4rl.load(file))
    ends = transitions.episode_ends(data, MAZE.max_episode_steps)
    actual = transitions.returns_to_go(data.rewards - 1, data.masks, ends, 0.99, -1.0)
    rewards, expected = collected[0]["rewards"], []
    for start, stop in ((0, 700), (701, 1401), (1402, STEPS - 1)):
        for row in range(start, stop):
            successes = np.flatnonzero(rewards[row:stop])
            steps = successes[0] if len(successes) else np.inf
            expected.append(-(1 - 0.99**steps) / (1 - 0.99))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_the_main_job_runs_on_the_file(file, tmp_path):
    config = small_experiments.CONFIGS["iql_samg"]("antmaze-umaze")
    fields = small_experiments.fields(
        "iql_samg", file, env_id="antmaze-umaze", num_seeds=1
    )
    fields |= {"offline.updates": 60, "offline.eval_every": 60}
    fields |= {"evaluation.episodes": 1}
    fields |= {"online.steps": 720, "online.eval_every": 720, "online.log_every": 360}
    fields |= {"online.checkpoint_every": 720, "logging.tensorboard": False}
    with config.ignore_type():
        config.update_from_flattened_dict(fields)
    run_summary.report(lifecycle.run(config, tmp_path))

    evaluations = small_runs.evaluations(tmp_path)
    assert [row.env_step for row in evaluations] == [0, 0, 720]
    for row in evaluations:
        assert row.return_mean in (0.0, 1.0)  # Of one episode.
        assert row.normalized_score == 100.0 * row.return_mean
        assert 0 < row.episode_length <= 700
    rates = {
        **small_runs.training(tmp_path, "success_rate", "offline"),
        **small_runs.training(tmp_path, "success_rate"),
    }
    assert rates == {(0, 60, row.env_step): row.return_mean for row in evaluations}
    regrets = small_runs.training(tmp_path, "regret")
    assert set(regrets) == {(0, 60, 360), (0, 60, 720)}
    assert regrets[0, 60, 720] in (0.0, 1.0)  # An episode has ended by then.
