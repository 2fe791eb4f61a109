"""What is said about files that differ from the published counts and returns."""

import dataclasses

import numpy as np
import pytest

from samg_jax.data import d4rl, published_facts, transitions

# Transitions, least number of trajectories, and normalized mean return of each file.
KNOWN = {
    "halfcheetah-medium-v2": (999_000, 999, 40.7),
    "halfcheetah-medium-replay-v2": (201_798, 201, 27.2),
    "halfcheetah-medium-expert-v2": (1_998_000, 1999, 64.4),
    "hopper-medium-v2": (999_998, 2186, 44.3),
    "hopper-medium-replay-v2": (401_598, 2040, 15.0),
    "hopper-medium-expert-v2": (1_998_966, 3213, 64.8),
    "walker2d-medium-v2": (999_322, 1190, 62.1),
    "walker2d-medium-replay-v2": (301_698, 1092, 14.8),
    "walker2d-medium-expert-v2": (1_998_318, 2190, 82.7),
}
REFERENCES = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
}
ANTMAZE = [name for name in d4rl.FILES if name.startswith("antmaze")]


def faithful(name):
    """Rows of one number each, with the published counts and returns."""
    want = published_facts.FILES[name]
    rng = np.random.default_rng(0)
    ends = want.terminals + want.timeouts
    places = np.sort(rng.choice(want.rows - 1, ends, replace=False))
    terminals, timeouts = np.zeros((2, want.rows), bool)
    is_timeout = np.isin(np.arange(ends), rng.permutation(ends)[: want.timeouts])
    timeouts[places[is_timeout]] = True
    terminals[places[~is_timeout]] = True
    rewards = np.zeros(want.rows, np.float32)
    rewards[places] = draw_returns(want.returns, ends)
    rewards[-1] = 1e6  # Of the trajectory that does not end in the file.
    observations = np.zeros((want.rows, 1), np.float32)
    return d4rl.Raw(observations, observations, rewards, terminals, timeouts, {})


def draw_returns(returns, count):
    """Numbers of that mean, deviation, minimum and maximum."""
    if returns.std is None:
        return np.full(count, returns.mean)
    extremes = []
    if returns.low is not None:
        extremes = [returns.low, returns.high]
    rest = count - len(extremes)
    mean = (returns.mean * count - sum(extremes)) / rest
    spread = count * returns.std**2 - sum((x - returns.mean) ** 2 for x in extremes)
    spread = np.sqrt(spread / rest - (mean - returns.mean) ** 2)
    signs = np.where(np.arange(rest) % 5 < 2, 1.0, 0.0)
    signs = (signs - signs.mean()) / signs.std()
    return np.concatenate([extremes, mean + spread * signs])


@pytest.mark.parametrize("name", KNOWN)
def test_the_table_gives_the_published_transitions_trajectories_and_scores(name):
    table, (transitions_, trajectories, score) = (
        published_facts.FILES[name],
        KNOWN[name],
    )
    assert table.rows - 1 - table.timeouts == transitions_
    assert table.terminals + table.timeouts in (trajectories - 1, trajectories)
    low, high = REFERENCES[name.split("-")[0]]
    assert 100 * (table.returns.mean - low) / (high - low) == pytest.approx(
        score, abs=0.06
    )


def test_every_file_has_a_row():
    assert list(published_facts.FILES) == list(d4rl.FILES)
    for name in ANTMAZE:
        assert published_facts.FILES[name] == published_facts.Published(1_000_000)


@pytest.mark.parametrize("name", KNOWN)
def test_a_faithful_file_is_silent(name):
    raw = faithful(name)
    assert published_facts.differences(name, raw) == []
    dataset = transitions.q_learning_view(raw)
    assert len(dataset.rewards) == KNOWN[name][0]
    assert published_facts.warning(name, "file", raw, dataset) is None


def test_each_difference_is_said_with_what_was_expected_and_found():
    name = "hopper-medium-replay-v2"
    raw = faithful(name)
    (row,) = np.flatnonzero(raw.timeouts)[:1]
    timeouts = raw.timeouts.copy()
    timeouts[row] = False
    rewards = raw.rewards * np.float32(1.1)
    shorter = {k: v[:-9] for k, v in vars(raw).items() if k != "attributes"}
    cases = [
        (shorter, ["rows: expected 402,000, found 401,991"]),
        (
            {"terminals": raw.terminals & (np.arange(402_000) > 1000)},
            [f"terminals: expected 1,639, found {1639 - raw.terminals[:1001].sum():,}"],
        ),
        (
            {"timeouts": timeouts},
            ["timeouts before the last row: expected 401, found 400"],
        ),
        (
            {"timeouts": None},
            ["timeouts before the last row: expected 401, found no such array"],
        ),
        (
            {"rewards": rewards},
            [
                "mean of the returns: expected 467.3 within 2.3, found 514.0",
                "standard deviation of the returns: expected 511.0 within 2.3, found 562.1",  # noqa: E501
                "highest of the returns: expected 3,192.9 within 2.3, found 3,512.2",
            ],
        ),
    ]
    for changes, expected in cases:
        lines = published_facts.differences(name, dataclasses.replace(raw, **changes))
        assert [line for line in lines if line in expected] == expected, lines


def test_a_timeout_in_the_last_row_does_not_count():
    raw = faithful("hopper-medium-v2")
    raw.timeouts[-1] = True
    raw.rewards[-1] = 1422.0
    assert published_facts.differences("hopper-medium-v2", raw) == []


def test_the_warning_names_file_and_dataset_and_says_what_to_do():
    raw = faithful("halfcheetah-medium-replay-v2")
    raw.terminals[5] = True
    dataset = transitions.q_learning_view(raw)
    message = published_facts.warning(
        "halfcheetah-medium-replay", "x.hdf5", raw, dataset
    )
    for text in (
        "x.hdf5 differs from what is published about halfcheetah-medium-replay-v2",
        "  terminals: expected 0, found 1\n",
        "used as it is",
        "move this one away",
    ):
        assert text in message


def ant(rows=1_000_000, timeouts=True):
    """An ant that walks; every 1001st row is the last of an episode."""
    observations = np.zeros((rows, 2), np.float32)
    observations[:, 0] = 0.1 * (np.arange(rows) % 1001)
    flags = np.arange(rows) % 1001 == 1000
    rewards = np.zeros(rows, np.float32)
    rewards[500:510] = 1.0
    return d4rl.Raw(
        observations,
        observations,
        rewards,
        rewards == 1,
        flags if timeouts else None,
        {},
    )


def ant_warning(raw):
    dataset = transitions.q_learning_view(raw, 1000)
    return published_facts.warning("antmaze-large-play-v2", "file", raw, dataset)


def test_a_faithful_antmaze_file_is_silent():
    assert ant_warning(ant()) is None


def test_antmaze_without_timeouts_names_the_false_transitions():
    # D4RL counts to 1000 where the episodes have 1001 rows, so it cuts them too early.
    message = ant_warning(ant(timeouts=False))
    assert "timeouts: expected in the file, found no such array" in message
    assert "steps of more than 2 m: expected none, found 998" in message


def test_antmaze_with_timeouts_out_of_step_names_the_false_transitions():
    raw = ant()
    shifted = dataclasses.replace(raw, timeouts=np.roll(raw.timeouts, 1))
    assert "steps of more than 2 m: expected none, found 999" in ant_warning(shifted)


def test_antmaze_of_another_length_or_with_other_rewards_is_noticed():
    raw = ant(5000)
    raw.rewards[7] = 0.5
    message = ant_warning(raw)
    assert "rows: expected 1,000,000, found 5,000" in message
    assert "rewards: expected 0 or 1, found others in 1 rows" in message


def test_sparse_rewards_that_are_all_zero_are_refused():
    raw = ant(2000)
    published_facts.check_successes("file", raw)
    raw.rewards[:] = 0
    with pytest.raises(ValueError, match=r"All 2,000 rewards in file are 0.*label"):
        published_facts.check_successes("file", raw)


def test_nothing_is_published_about_the_demo():
    raw = ant(10)
    dataset = transitions.q_learning_view(raw)
    assert published_facts.warning("hopper-demo", "file", raw, dataset) is None
