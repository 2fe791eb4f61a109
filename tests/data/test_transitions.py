"""Transitions, returns, reward transforms and statistics against plain loops."""

import importlib.util
import os
import subprocess
import sys
import textwrap
import time

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.data import d4rl, transitions

O, A = 5, 3  # noqa: E741


def make_raw(rows, terminals=(), timeouts=(), seed=0):
    """Random rows; `timeouts=None` is a file without that key."""
    rng = np.random.default_rng(seed)

    def flags(where):
        return np.isin(np.arange(rows), where)

    return d4rl.Raw(
        observations=rng.normal(size=(rows, O)).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows, A)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32),
        terminals=flags(list(terminals)),
        timeouts=None if timeouts is None else flags(list(timeouts)),
        attributes={},
    )


def make_dataset(rewards, terminals=(), jumps=()):
    """Continuous transitions, except after the indices in `jumps`."""
    count = len(rewards)
    observations = np.arange(count * O, dtype=np.float32).reshape(count, O)
    next_observations = observations + O
    next_observations[list(jumps)] += 0.01
    return transitions.Dataset(
        observations=observations,
        actions=np.zeros((count, A), np.float32),
        rewards=np.asarray(rewards, np.float32),
        next_observations=next_observations,
        masks=1 - np.isin(np.arange(count), list(terminals)).astype(np.float32),
        mc_returns=np.zeros(count, np.float32),
    )


# name -> rows, limit
CASES = {
    "terminals": (make_raw(30, terminals=[3, 4, 17]), 1000),
    "timeouts": (make_raw(30, timeouts=[9, 19, 29]), 10),
    "both": (make_raw(40, terminals=[3, 19, 20, 39], timeouts=[9, 19, 30]), 10),
    "neither": (make_raw(7), 1000),
    "inferred": (make_raw(50, timeouts=None), 10),
    "inferred_last": (make_raw(21, timeouts=None), 20),
    "inferred_terminals": (make_raw(60, [3, 4, 13, 33, 34, 50], None), 10),
    "inferred_short": (make_raw(40, [0, 1, 5, 12, 13, 14], None), 2),
    "inferred_dense": (
        make_raw(500, np.flatnonzero(np.random.default_rng(1).random(500) < 0.2), None),
        4,
    ),
}

# Reads each file with D4RL's own loader and makes transitions with D4RL's own loop.
# With mujoco_py blocked, its import fails in the way that D4RL expects.
JUDGE = textwrap.dedent(
    """
    import sys
    sys.modules["mujoco_py"] = None
    import d4rl
    import gym
    import numpy as np
    from d4rl import offline_env

    for path, limit in zip(sys.argv[1::2], sys.argv[2::2]):
        env = offline_env.OfflineEnv()
        env.observation_space = gym.spaces.Box(-1, 1, (5,))
        env.action_space = gym.spaces.Box(-1, 1, (3,))
        env._max_episode_steps = int(limit)
        dataset = env.get_dataset(h5path=path)
        np.savez(path + ".npz", **d4rl.qlearning_dataset(env, dataset=dataset))
    """
)


def write_like_d4rl(path, raw):
    """Writes the traps of the real files: float64, columns, metadata, float flags."""
    with h5py.File(path, "w") as file:
        file["observations"] = raw.observations.astype(np.float64)
        file["actions"] = raw.actions.astype(np.float64)
        file["rewards"] = raw.rewards.astype(np.float64)[:, None]
        file["terminals"] = raw.terminals.astype(np.float32)[:, None]
        if raw.timeouts is not None:
            file["timeouts"] = raw.timeouts
        file["next_observations"] = np.zeros_like(raw.observations)
        file["metadata/algorithm"] = b"SAC"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Returns for each case the file and what the installed D4RL makes of it."""
    if importlib.util.find_spec("d4rl") is None:
        pytest.skip("d4rl is not installed")
    folder = tmp_path_factory.mktemp("judge")
    arguments = []
    for name, (raw, limit) in CASES.items():
        write_like_d4rl(folder / f"{name}.hdf5", raw)
        arguments += [f"{folder}/{name}.hdf5", str(limit)]
    environment = {
        **os.environ,
        "D4RL_SUPPRESS_IMPORT_ERROR": "1",
        "D4RL_DATASET_DIR": str(folder),
    }
    process = subprocess.run(
        [sys.executable, "-c", JUDGE, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return {
        name: (folder / f"{name}.hdf5", dict(np.load(folder / f"{name}.hdf5.npz")))
        for name in CASES
    }


@pytest.mark.parametrize("name", CASES)
def test_view_is_that_of_the_installed_d4rl(judged, name):
    path, expected = judged[name]
    actual = transitions.q_learning_view(d4rl.load(path), CASES[name][1])
    assert len(actual.rewards) == len(expected["rewards"]) > 0
    for key in ("observations", "actions", "rewards", "next_observations"):
        assert getattr(actual, key).dtype == expected[key].dtype == np.float32
        np.testing.assert_array_equal(getattr(actual, key), expected[key])
    np.testing.assert_array_equal(actual.masks, 1.0 - expected["terminals"])


@pytest.mark.parametrize("name", CASES)
def test_view_matches_a_plain_loop(name):
    raw, limit = CASES[name]
    actual = transitions.q_learning_view(raw, limit)
    expected, step = [], 0
    for i in range(len(raw.rewards) - 1):
        over = step == limit - 1 if raw.timeouts is None else raw.timeouts[i]
        if over:
            step = 0
            continue
        expected.append(i)
        step = 1 if raw.terminals[i] else step + 1
    following = [i + 1 for i in expected]
    np.testing.assert_array_equal(actual.observations, raw.observations[expected])
    np.testing.assert_array_equal(actual.next_observations, raw.observations[following])
    np.testing.assert_array_equal(actual.rewards, raw.rewards[expected])
    np.testing.assert_array_equal(actual.masks, 1.0 - raw.terminals[expected])
    assert {leaf.dtype for leaf in jax.tree.leaves(actual)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("limit", [None, 0])
def test_missing_timeouts_need_a_time_limit(limit):
    with pytest.raises(ValueError, match="no 'timeouts' and max_episode_steps"):
        transitions.q_learning_view(make_raw(5, timeouts=None), limit)


def test_view_without_transitions_is_refused():
    with pytest.raises(ValueError, match="None of the 4 rows"):
        transitions.q_learning_view(make_raw(4, timeouts=[0, 1, 2]))


def test_dropped_timeouts_are_found_again_as_jumps():
    raw = make_raw(30, terminals=[4], timeouts=[14, 24])
    dataset = transitions.q_learning_view(raw)
    ends = transitions.episode_ends(dataset, 1000)
    # Rows 14 and 24 are gone, so the last steps are rows 4, 13, 23 and 28.
    np.testing.assert_array_equal(np.flatnonzero(ends), [4, 13, 22, 26])


def reference_ends(dataset, limit):
    ends, length = [], 0
    count = len(dataset.rewards)
    for t in range(count):
        length += 1
        end = dataset.masks[t] == 0 or t == count - 1 or length == limit
        if not end:
            gap = dataset.observations[t + 1] - dataset.next_observations[t]
            end = float(np.sqrt(np.sum(gap**2))) > 1e-6
        ends.append(bool(end))
        length = 0 if end else length
    return ends


def reference_returns(rewards, terminals, ends, discount, failure):
    result, segment = [], []
    for t in range(len(rewards)):
        segment.append(t)
        if not ends[t]:
            continue
        if failure is not None and rewards[t] == failure:
            result += [float(rewards[t]) / (1 - discount)] * len(segment)
        else:
            for position, start in enumerate(segment):
                total, factor = 0.0, 1.0
                for i in segment[position:]:
                    total += factor * float(rewards[i])
                    factor *= 0.0 if terminals[i] else discount
                result.append(total)
                assert start == len(result) - 1
        segment = []
    return result


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_ends_match_a_plain_loop(limit):
    rng = np.random.default_rng(limit)
    terminals, jumps = rng.integers(0, 200, (2, 12))
    dataset = make_dataset(np.zeros(200), terminals, jumps)
    actual = transitions.episode_ends(dataset, limit)
    np.testing.assert_array_equal(actual, reference_ends(dataset, limit))


@pytest.mark.parametrize("failure", [None, -5.0])
def test_returns_to_go_match_a_plain_loop(failure):
    rng = np.random.default_rng(3)
    terminals, jumps = rng.integers(0, 300, (2, 15))
    rewards = rng.choice([-5.0, 5.0, 1.5], 300).astype(np.float32)
    dataset = make_dataset(rewards, terminals, jumps)
    ends = transitions.episode_ends(dataset, 17)
    actual = transitions.returns_to_go(rewards, dataset.masks, ends, 0.97, failure)
    expected = reference_returns(rewards, 1 - dataset.masks, ends, 0.97, failure)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_returns_to_go_of_the_worked_example():
    raw_rewards = [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    dataset = make_dataset(raw_rewards, terminals=[2, 9], jumps=[2])
    transform = transitions.RewardTransform.affine(10.0, -5.0)
    ends = transitions.episode_ends(dataset, 4)
    actual = transitions.returns_to_go(
        transform(dataset.rewards), dataset.masks, ends, 0.99, float(transform(0.0))
    )
    expected = [-5.0495, -0.05, 5, -500, -500, -500, -500, -5.0495, -0.05, 5, -500]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_successes_in_a_run_end_each_by_itself_and_the_ant_goes_on():
    # Labeled after the fact: rows 2 to 4 are at the goal, then the ant walks on until
    # row 8, where the time is up, and a new episode begins.
    flags = np.isin(np.arange(12), [2, 3, 4])
    raw = d4rl.Raw(
        observations=np.arange(12.0, dtype=np.float32)[:, None],
        actions=np.zeros((12, 1), np.float32),
        rewards=flags.astype(np.float32),
        terminals=flags,
        timeouts=np.arange(12) == 8,
        attributes={},
    )
    dataset = transitions.q_learning_view(raw)
    np.testing.assert_array_equal(
        dataset.observations[:, 0], [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]
    )
    np.testing.assert_array_equal(
        dataset.next_observations[:, 0], [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    )
    np.testing.assert_array_equal(dataset.masks, [1, 1, 0, 0, 0, 1, 1, 1, 1, 1])
    ends = transitions.episode_ends(dataset, 1000)
    np.testing.assert_array_equal(np.flatnonzero(ends), [2, 3, 4, 7, 9])
    transform = transitions.RewardTransform.affine(1.0, -1.0)
    returns = transitions.returns_to_go(
        transform(dataset.rewards), dataset.masks, ends, 0.9, -1.0
    )
    np.testing.assert_allclose(
        returns, [-1.9, -1, 0, 0, 0, *[-10] * 5], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(0, 5.0), (1, -0.05), (2, -5.0495), (100, -315.1537), (500, -496.6819)],
)
def test_returns_to_go_before_a_goal(steps, expected):
    rewards = np.full(501, -5.0, np.float32)
    rewards[-1] = 5.0
    masks = (rewards < 0).astype(np.float32)
    actual = transitions.returns_to_go(rewards, masks, masks == 0, 0.99, -5.0)
    np.testing.assert_allclose(actual[-1 - steps], expected, rtol=1e-6)


def test_two_million_rows_take_seconds():
    rng = np.random.default_rng(0)
    count = 2_000_000
    rewards = rng.normal(size=count).astype(np.float32)
    masks = (rng.random(count) > 0.002).astype(np.float32)
    dataset = transitions.Dataset(
        observations=np.zeros((count, 2), np.float32),
        actions=np.zeros((count, 1), np.float32),
        rewards=rewards,
        next_observations=np.zeros((count, 2), np.float32),
        masks=masks,
        mc_returns=np.zeros(count, np.float32),
    )
    start = time.process_time()
    ends = transitions.episode_ends(dataset, 1000)
    transitions.returns_to_go(rewards, masks, ends, 0.99, 0.0)
    transitions.RewardTransform.range(dataset)
    assert time.process_time() - start < 10


def test_identity_leaves_rewards_bit_for_bit():
    rewards = np.random.default_rng(0).normal(size=50).astype(np.float32)
    actual = transitions.RewardTransform.identity()(rewards)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, rewards)


def test_affine_is_exact_on_antmaze_rewards():
    rewards = np.array([0.0, 1.0], np.float32)
    for scale, bias, expected in ((1, -1, [-1, 0]), (10, -5, [-5, 5])):
        actual = transitions.RewardTransform.affine(scale, bias)(rewards)
        np.testing.assert_array_equal(actual, np.array(expected, np.float32))


def reference_range(rewards, terminals):
    returns, total, length = [], 0.0, 0
    for reward, terminal in zip(rewards, terminals, strict=True):
        total += float(reward)
        length += 1
        if terminal or length == 1000:
            returns.append(total)
            total, length = 0.0, 0
    return min(returns), max(returns)


@pytest.mark.parametrize(
    "terminals", [[], [0], [500, 2499, 2500], [999, 3499], list(range(100, 3500, 37))]
)
def test_range_matches_a_plain_scan(terminals):
    rng = np.random.default_rng(7)
    rewards = rng.normal(1.0, 2.0, 3500).astype(np.float32)
    rewards[-400:] *= 1000  # In the unfinished tail of some cases.
    dataset = make_dataset(rewards, terminals, jumps=[10, 20])
    low, high = reference_range(rewards, 1 - dataset.masks)
    np.testing.assert_allclose(transitions.return_range(dataset), (low, high), 1e-12)
    actual = transitions.RewardTransform.range(dataset)(rewards)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, rewards / (high - low) * 1000, rtol=1e-6)
    actual = transitions.RewardTransform.range(dataset, 2.0, -3.0)(rewards)
    expected = rewards.astype(np.float64) / (high - low) * 1000 * 2 - 3
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("terminals", "kept"), [([], 3000), ([10], 3011), ([3499], 3500), ([2900], 2901)]
)
def test_what_follows_the_last_whole_segment_can_be_dropped(terminals, kept):
    dataset = make_dataset(np.arange(3500.0), terminals)
    dropped = transitions.drop_unfinished(dataset)
    np.testing.assert_array_equal(dropped.rewards, np.arange(kept))
    assert all(len(leaf) == kept for leaf in jax.tree.leaves(dropped))
    with pytest.raises(ValueError, match="drop_unfinished=False"):
        transitions.drop_unfinished(make_dataset(np.ones(999)))


def test_range_needs_two_different_returns():
    with pytest.raises(ValueError, match="no whole segment"):
        transitions.RewardTransform.range(make_dataset(np.ones(999)))
    with pytest.raises(ValueError, match="Returns range from"):
        transitions.RewardTransform.range(make_dataset(np.ones(2000)))


def test_normalizer_matches_float64_statistics():
    rng = np.random.default_rng(0)
    observations = rng.normal(10.0, 5.0, (4000, O)).astype(np.float32)
    observations[:, 2] = 3.0  # A constant feature must not divide by zero.
    normalizer = transitions.Normalizer.fit(observations)
    columns = [[float(x) for x in column] for column in observations.T]
    for i, column in enumerate(columns):
        mean = sum(column) / len(column)
        std = (sum((x - mean) ** 2 for x in column) / len(column)) ** 0.5 + 1e-3
        np.testing.assert_allclose(normalizer.mean[i], mean, rtol=1e-6)
        np.testing.assert_allclose(normalizer.std[i], std, rtol=1e-6)
        np.testing.assert_allclose(
            normalizer(observations)[:, i],
            (observations[:, i] - mean) / std,
            rtol=1e-4,
            atol=1e-5,
        )


def test_identity_normalizer_changes_nothing():
    observations = np.random.default_rng(0).normal(size=(7, O)).astype(np.float32)
    actual = transitions.Normalizer.identity(O)(observations)
    np.testing.assert_array_equal(actual, observations)


def test_transforms_are_float32_trees_that_jit_and_stack():
    observations = np.random.default_rng(0).normal(size=(7, O)).astype(np.float32)
    nodes = [
        (transitions.Normalizer.fit(observations), observations),
        (transitions.RewardTransform.affine(2.0, 1.0), observations[:, 0]),
    ]
    for node, values in nodes:
        assert {x.dtype for x in jax.tree.leaves(node)} == {np.dtype(np.float32)}
        stacked = jax.tree.map(lambda x: jnp.stack([x, x]), node)
        apply = jax.jit(jax.vmap(lambda node, x: node(x), in_axes=(0, None)))
        actual = apply(stacked, values)
        np.testing.assert_allclose(actual, [node(values)] * 2, rtol=1e-5, atol=1e-6)
