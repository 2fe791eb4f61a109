import os
import pathlib
import subprocess
import sys
import threading
import time

import gymnasium
import numpy as np
import pytest

import samg_jax
from samg_jax.envs import d4rl_physics, locomotion, vector

LOCOMOTION = ["HalfCheetah-v4", "Hopper-v4", "Walker2d-v4"]
ROBOTS = [*LOCOMOTION, "antmaze-umaze-v2"]


class Counter(gymnasium.Env):
    """Counts; draws a number each step; ends in a true end when pushed hard."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(
        np.float32([-4, 0, 1]), np.float32([4, 1, 3]), dtype=np.float32
    )

    def __init__(self):
        self.count, self.last_action, self.hidden = 0, None, {"draws": []}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.hidden = 0, {"draws": []}
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.count += 1
        self.last_action = action
        return self.observe(), float(action.sum()), bool(action[0] > 3.9), False, {}

    def observe(self):
        self.hidden["draws"].append(self.np_random.normal())
        return np.array([self.count, sum(self.hidden["draws"])], np.float32)


class Unpicklable(Counter):
    def __init__(self):
        super().__init__()
        self.callback = lambda: None


@pytest.fixture(autouse=True)
def registered():
    gymnasium.register("SamgCounter-v0", entry_point=Counter, max_episode_steps=7)
    gymnasium.register("SamgUnpicklable-v0", entry_point=Unpicklable)
    yield
    del gymnasium.registry["SamgCounter-v0"], gymnasium.registry["SamgUnpicklable-v0"]


def make(env_id, num_envs, seeds, **kwargs):
    kwargs.setdefault("physics", d4rl_physics.default(env_id))
    return vector.make(env_id, num_envs, seeds, **kwargs)


def draw_actions(steps, env, seed=0):
    size = (steps, env.num_envs, env.action_size)
    return np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)


def assert_steps_equal(actual, expected):
    for name, left, right in zip(actual._fields, actual, expected, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)
        assert left.dtype == right.dtype, name


@pytest.mark.parametrize("physics_name", d4rl_physics.PHYSICS)
@pytest.mark.parametrize("env_id", LOCOMOTION)
def test_robots_equal_gymnasium_in_every_bit(env_id, physics_name):
    batch = locomotion.Simulators(env_id, 2, physics_name, threads=2)
    envs = [d4rl_physics.make(env_id, physics_name) for _ in range(2)]
    for index, env in enumerate(envs):
        expected, _ = env.reset(seed=index + 5)
        np.testing.assert_array_equal(batch.reset(index, index + 5), expected)
    rng = np.random.default_rng(0)
    resets = 0
    for step in range(1000):
        actions = rng.uniform(-1, 1, (2, len(batch.action_low)))
        observations, rewards, terminals, truncations = batch.step(
            actions, np.ones(2, bool)
        )
        assert observations.dtype == rewards.dtype == np.float64
        assert not truncations.any()
        for index, env in enumerate(envs):
            expected, reward, terminal, truncation, _ = env.step(actions[index])
            np.testing.assert_array_equal(observations[index], expected)
            assert rewards[index] == reward
            assert terminals[index] == terminal
            if terminal or truncation or step in (300, 301):
                resets += 1
                np.testing.assert_array_equal(batch.reset(index, None), env.reset()[0])
    assert resets >= 4


@pytest.mark.parametrize("env_id", ROBOTS)
def test_the_vector_environment_rounds_what_gymnasium_yields(env_id):
    env = make(env_id, 1, [3])
    single = d4rl_physics.make(env_id)
    expected, _ = single.reset(seed=3)
    np.testing.assert_array_equal(env.reset()[0], expected.astype(np.float32))
    ends = 0
    for actions in draw_actions(1_010, env):  # Beyond the time limit.
        step = env.step(actions)
        # The same numbers as float64: gymnasium computes the cost in their precision.
        expected, reward, terminal, truncated, _ = single.step(
            actions[0].astype(np.float64)
        )
        np.testing.assert_array_equal(
            step.next_observations[0], expected.astype(np.float32)
        )
        assert step.rewards[0] == np.float32(reward)
        assert (step.terminals[0], step.timeouts[0]) == (terminal, truncated)
        if terminal or truncated:
            ends += 1
            expected, _ = single.reset()
        np.testing.assert_array_equal(step.observations[0], expected.astype(np.float32))
    assert ends >= 1


@pytest.mark.parametrize("env_id", [*ROBOTS, "SamgCounter-v0", "Pendulum-v1"])
def test_one_of_four_equals_the_same_alone(env_id):
    four, one = make(env_id, 4, [7, 8, 9, 10], threads=2), make(env_id, 1, [9])
    np.testing.assert_array_equal(four.reset()[2], one.reset()[0])
    for actions in draw_actions(150, four):
        step, alone = four.step(actions), one.step(actions[2:3])
        assert_steps_equal(vector.Step(*(field[2:3] for field in step)), alone)


@pytest.mark.parametrize("env_id", ["Walker2d-v4", "antmaze-umaze-v2"])
def test_threads_do_not_change_results(env_id):
    envs = [make(env_id, 5, range(5), threads=threads) for threads in (1, 2, 5)]
    for env in envs:
        env.reset()
    for actions in draw_actions(60, envs[0]):
        steps = [env.step(actions) for env in envs]
        assert_steps_equal(steps[1], steps[0])
        assert_steps_equal(steps[2], steps[0])


@pytest.mark.parametrize(
    ("env_id", "before", "after"),
    [
        ("HalfCheetah-v4", 40, 40),
        ("Hopper-v4", 33, 100),
        ("Walker2d-v4", 33, 100),
        ("antmaze-umaze-v2", 650, 100),  # Over the time limit: a new goal.
        ("SamgCounter-v0", 10, 20),
        ("Pendulum-v1", 150, 100),
        ("Ant-v4", 20, 60),  # Pays for a position that the state alone lacks.
        ("Hopper-v5", 20, 60),
    ],
)
def test_a_saved_batch_continues_in_every_bit(env_id, before, after):
    env = make(env_id, 2, [1, 2], physics="stock")
    env.reset()
    actions = draw_actions(before + after, env)
    for step_actions in actions[:before]:
        env.step(step_actions)
    state = env.get_state()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    copy = {name: array.copy() for name, array in state.items()}
    restored = make(env_id, 2, [11, 12], physics="stock")
    restored.set_state(state)
    np.testing.assert_array_equal(restored.observations, env.observations)
    for step_actions in actions[before:]:
        assert_steps_equal(restored.step(step_actions), env.step(step_actions))
    if env_id in ROBOTS:  # Steps are rounded to float32, states are not.
        for name, array in env.get_state().items():
            np.testing.assert_array_equal(restored.get_state()[name], array)
    # Neither batch has written into the saved arrays.
    for name, array in state.items():
        np.testing.assert_array_equal(array, copy[name])


@pytest.mark.parametrize("env_id", ROBOTS)
def test_the_solvers_first_guess_is_part_of_the_state(env_id):
    env, twin = make(env_id, 4, range(4)), make(env_id, 4, range(4))
    env.reset()
    # Without it only some steps, those in hard contact, differ in their last bits.
    for step_actions in draw_actions(150, env):
        twin.set_state(env.get_state())
        env.step(step_actions)
        twin.step(step_actions)
        for name, array in env.get_state().items():
            np.testing.assert_array_equal(twin.get_state()[name], array)


def test_a_saved_batch_continues_in_another_process(tmp_path):
    env = make("Hopper-v4", 2, [1, 2])
    env.reset()
    actions = draw_actions(100, env)
    for step_actions in actions[:30]:
        env.step(step_actions)
    np.savez(tmp_path / "state.npz", **env.get_state())
    np.save(tmp_path / "actions.npy", actions[30:])
    expected = [env.step(step_actions) for step_actions in actions[30:]]
    program = """
import sys
import threading
import time
import numpy as np
from samg_jax.envs import vector
folder = sys.argv[1]
env = vector.make("Hopper-v4", 2, [5, 6])
env.set_state(dict(np.load(folder + "/state.npz")))
steps = [env.step(actions) for actions in np.load(folder + "/actions.npy")]
np.savez(folder + "/steps.npz", *(np.stack(field) for field in zip(*steps)))
"""
    root = pathlib.Path(samg_jax.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=root,
        check=True,
    )
    assert sum(step.dones.sum() for step in expected) >= 2
    with np.load(tmp_path / "steps.npz") as steps:
        for index, field in enumerate(zip(*expected, strict=True)):
            np.testing.assert_array_equal(steps[f"arr_{index}"], np.stack(field))


def test_an_environment_that_cannot_be_saved_says_which_attribute():
    env = make("SamgUnpicklable-v0", 1, [0])
    env.reset()
    env.step(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="cannot be saved"):
        env.get_state()


def test_a_state_of_another_size_is_refused():
    env = make("Hopper-v4", 3, [0, 1, 2])
    env.reset()
    with pytest.raises(ValueError, match="Cannot restore a state"):
        make("Hopper-v4", 2, [0, 1]).set_state(env.get_state())


def test_a_state_that_lacks_an_array_is_refused():
    env = make("Hopper-v4", 1, [0])
    env.reset()
    state = env.get_state()
    del state["rng"]
    with pytest.raises(ValueError, match=r"this batch has .*rng"):
        env.set_state(state)


def test_an_episode_that_ends_is_reset_and_its_successor_kept():
    env = make("Hopper-v4", 2, [0, 1])
    observations, total, length = env.reset(), 0.0, 0
    for actions in draw_actions(100, env):
        step = env.step(actions)
        total, length = total + float(step.rewards[0]), length + 1
        np.testing.assert_allclose(step.episode_returns[0], total, rtol=1e-5)
        assert step.episode_lengths[0] == length
        if step.dones[0]:
            break
        np.testing.assert_array_equal(step.observations[0], step.next_observations[0])
    assert step.terminals[0]
    assert not step.truncations[0]
    # The robot that fell leans, the one that begins stands.
    height, angle = step.next_observations[0, :2]
    assert height <= 0.7 or abs(angle) >= 0.2
    np.testing.assert_allclose(step.observations[0, :2], [1.25, 0.0], atol=6e-3)
    assert not np.array_equal(step.observations[0], observations[0])
    step = env.step(actions)
    assert step.episode_lengths[0] == 1
    np.testing.assert_allclose(step.episode_returns[0], step.rewards[0], rtol=1e-6)


def test_the_time_limit_truncates_and_is_no_end():
    env = make("Pendulum-v1", 2, [0, 1])
    env.reset()
    for count, actions in enumerate(draw_actions(401, env), start=1):
        step = env.step(actions)
        assert not step.terminals.any()
        assert step.truncations.all() == step.truncations.any() == (count % 200 == 0)
        assert step.episode_lengths[0] == (count - 1) % 200 + 1


def test_the_cheetah_runs_for_a_thousand_steps():
    env = make("HalfCheetah-v4", 1, [0])
    returns, lengths = vector.rollout(env, lambda _: np.zeros((1, 6)))
    np.testing.assert_array_equal(lengths, [1000])
    assert env.max_episode_steps == 1000
    assert abs(returns[0]) < 100


def test_a_true_end_at_the_time_limit_is_terminal():
    env = make("SamgCounter-v0", 1, [0])
    env.reset()
    for _ in range(6):
        assert not env.step(np.zeros((1, 3))).dones.any()
    step = env.step(np.ones((1, 3)))
    assert step.terminals[0]
    assert not step.truncations[0]


def test_actions_are_clipped_and_rescaled_to_the_bounds():
    env = make("SamgCounter-v0", 1, [0])
    env.reset()
    single = env._simulators._envs[0].unwrapped
    for given, received in [
        ([0.0, 0.0, 0.0], [0.0, 0.5, 2.0]),
        ([-9.0, -1.0, -1.0], [-4.0, 0.0, 1.0]),
        ([0.5, 1.0, 7.0], [2.0, 1.0, 3.0]),
    ]:
        env.step(np.array([given]))
        np.testing.assert_array_equal(single.last_action, np.float32(received))


def test_robots_see_clipped_actions():
    envs = [make("Hopper-v4", 1, [0]) for _ in range(2)]
    for env in envs:
        env.reset()
    wild = envs[0].step(np.array([[5.0, -np.inf, np.nan]]))
    assert_steps_equal(wild, envs[1].step(np.array([[1.0, -1.0, 0.0]])))


def test_one_action_that_is_no_number_leaves_the_others_alone():
    envs = [make("HalfCheetah-v4", 2, [0, 1]) for _ in range(2)]
    for env in envs:
        env.reset()
    actions = draw_actions(1, envs[0])[0]
    broken = actions.copy()
    broken[0] = np.nan
    step, expected = envs[0].step(broken), envs[1].step(actions)
    np.testing.assert_array_equal(
        step.next_observations[1], expected.next_observations[1]
    )
    assert np.isfinite(step.next_observations).all()


def test_seeds_given_to_reset_start_over():
    env, other = make("Hopper-v4", 2, [0, 1]), make("Hopper-v4", 2, [4, 5])
    first, second = env.reset(), env.reset()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.reset([4, 5]), other.reset())
    np.testing.assert_array_equal(env.reset([0, 1]), first)


def test_both_physics_differ():
    steps = []
    for physics_name in d4rl_physics.PHYSICS:
        env = make("HalfCheetah-v4", 1, [0], physics=physics_name)
        env.reset()
        steps.append(env.step(np.full((1, 6), 0.5)))
    difference = steps[0].next_observations - steps[1].next_observations
    assert np.abs(difference).max() > 1e-3


def test_returned_arrays_are_not_touched_by_later_steps():
    env = make("Hopper-v4", 2, [0, 1])
    observations = env.reset()
    actions = draw_actions(40, env)
    step = env.step(actions[0])
    kept = [field.copy() for field in (observations, *step)]
    for step_actions in actions[1:]:
        env.step(step_actions)
    for field, copy in zip((observations, *step), kept, strict=True):
        np.testing.assert_array_equal(field, copy)


def test_inactive_environments_stand_still():
    env = make("Walker2d-v4", 3, [0, 1, 2])
    observations = env.reset()
    actions = draw_actions(2, env)
    step = env.step(actions[0], active=np.array([True, False, True]))
    np.testing.assert_array_equal(step.observations[1], observations[1])
    np.testing.assert_array_equal(step.episode_lengths, [1, 0, 1])
    assert step.rewards[1] == 0.0
    alone = make("Walker2d-v4", 1, [1])
    alone.reset()
    step, expected = env.step(actions[1]), alone.step(actions[1, 1:2])
    np.testing.assert_array_equal(step.observations[1:2], expected.observations)


@pytest.mark.parametrize("env_id", ["Hopper-v4", "SamgCounter-v0"])
def test_a_rollout_plays_one_episode_in_each(env_id):
    env = make(env_id, 3, [0, 1, 2])

    def policy(observations):
        return np.tanh(observations[:, : env.action_size].mean(1, keepdims=True)) * (
            np.ones(env.action_size)
        )

    returns, lengths = vector.rollout(env, policy, seeds=[4, 5, 6])
    for index, seed in enumerate([4, 5, 6]):
        alone = make(env_id, 1, [seed])
        observations, total = alone.reset(), 0.0
        length, done = 0, False
        while not done:
            step = alone.step(policy(observations))
            total, length = total + float(step.rewards[0]), length + 1
            observations, done = step.observations, step.dones[0]
        assert lengths[index] == length
        np.testing.assert_allclose(returns[index], total, rtol=1e-5)


def test_a_rollout_of_several_episodes_returns_means():
    env = make("SamgCounter-v0", 2, [0, 1])
    returns, lengths = vector.rollout(env, lambda _: np.zeros((2, 3)), episodes=3)
    np.testing.assert_array_equal(lengths, [7.0, 7.0])
    np.testing.assert_allclose(returns, [17.5, 17.5])


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2], [0, -1]])
def test_seeds_must_be_one_non_negative_number_each(seeds):
    with pytest.raises(ValueError, match="2 environments"):
        make("Hopper-v4", 2, seeds)


def test_actions_must_be_one_row_each():
    env = make("Hopper-v4", 2, [0, 1])
    env.reset()
    with pytest.raises(ValueError, match=r"\(2, 3\) is allowed"):
        env.step(np.zeros((3, 2)))


@pytest.mark.parametrize(
    "use",
    [lambda env: env.step(np.zeros((1, 3))), lambda env: env.get_state()],
    ids=["step", "get_state"],
)
def test_episodes_begin_with_reset(use):
    with pytest.raises(ValueError, match="never reset"):
        use(make("Hopper-v4", 1, [0]))


def test_sizes_of_a_batch_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        make("Hopper-v4", 0, [])
    with pytest.raises(ValueError, match="at least 1"):
        make("Hopper-v4", 1, [0], threads=0)


def test_no_more_threads_than_processors_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    before = threading.active_count()
    for env_id in ROBOTS:
        env = vector.make(env_id, 12, range(12))
        assert threading.active_count() == before + 2  # And the caller's own.
        env.close()
        deadline = time.monotonic() + 10
        while threading.active_count() > before:
            assert time.monotonic() < deadline
