"""Users' files: what their rows say is used, what they cannot be is refused."""

import dataclasses

import gymnasium
import h5py
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.data import (
    d4rl,
    plausibility,
    row_order,
    successors,
    transitions,
)
from samg_jax.envs import tasks
from samg_jax.experiment import datasets, resolve
from samg_jax.runs import dry_run
from tests.fixtures import small_experiments

LIMIT = 20


class Walk(gymnasium.Env):
    """A point that actions move; its observation says where and when."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)

    def __init__(self, bound=1.0):
        self.action_space = gymnasium.spaces.Box(-bound, bound, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = self.np_random.normal(), 0
        return self.observation(), {}

    def observation(self):
        return np.array([self.place, self.time / LIMIT, 1.0])

    def step(self, action):
        self.place += float(action[0])
        self.time += 1
        over = abs(self.place) > 4
        return self.observation(), -abs(self.place), over, False, {}


@pytest.fixture(scope="module", autouse=True)
def _walk():
    names = {"OwnWalk-v0": (1.0, LIMIT), "OwnFree-v0": (1.0, None)}
    names["OwnNarrow-v0"] = (0.4, LIMIT)
    for name, (bound, limit) in names.items():
        gymnasium.register(name, Walk, max_episode_steps=limit, kwargs={"bound": bound})
    yield
    for name in names:
        del gymnasium.registry[name]


def play(count=400, seed=0, limit=LIMIT):
    """Rows of random actions as a file has them, with the true successors."""
    rng, env = np.random.default_rng(seed), Walk()
    rows, observation, time = [], env.reset(seed=seed)[0], 0
    while len(rows) < count:
        action = rng.uniform(-1, 1, 1)
        after, reward, terminal, _, _ = env.step(action)
        time += 1
        cut = time == limit and not terminal
        rows.append((observation, action, reward, terminal, cut, after))
        observation = after
        if terminal or cut:
            observation, time = env.reset()[0], 0
    keys = (*d4rl.KEYS, "next_observations")
    columns = zip(*rows, strict=True)
    return {k: np.array(v) for k, v in zip(keys, columns, strict=True)}


def own(rows, **changes):
    rows = {**rows, "next_observations": None, **changes}
    as_float = {
        key: value if value is None or value.dtype == bool else value.astype(np.float32)
        for key, value in rows.items()
    }
    return d4rl.Own(attributes={}, **as_float)


def shuffled(rows, seed=0):
    chosen = np.random.default_rng(seed).permutation(len(rows["rewards"]))
    return {key: value[chosen] for key, value in rows.items()}


def load(path, rows, config="awac", env_id="OwnWalk-v0", **fields):
    """Writes a file and loads it as a run does; returns dataset and warnings."""
    with h5py.File(path, "w") as file:
        for key, value in rows.items():
            file[key] = value
    fields = {key.replace("__", "."): value for key, value in fields.items()}
    settings = small_experiments.config(config, path, {"env_id": env_id, **fields})
    warnings = []
    experiment = resolve.experiment(settings)
    dataset, *_ = datasets.load(experiment, str, warnings.append)
    return dataset, warnings


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own.hdf5"


def without(rows, *keys):
    return {key: value for key, value in rows.items() if key not in keys}


# Flags and successors.


def test_a_termination_wins_over_a_timeout(path):
    rows = play()
    both = {**rows, "timeouts": rows["terminals"] | rows["timeouts"]}
    assert rows["terminals"][:-1].any()
    plain, _ = load(path, without(rows, "next_observations"))
    same, _ = load(path, without(both, "next_observations"))
    for key in ("observations", "next_observations", "masks"):
        np.testing.assert_array_equal(getattr(same, key), getattr(plain, key))
    assert (same.masks == 0).sum() == rows["terminals"][:-1].sum()
    with_successors, _ = load(path, both)
    assert (with_successors.masks == 0).sum() == rows["terminals"].sum()


def test_d4rls_own_view_stays_literal():
    rows = play()
    flags = rows["terminals"] | rows["timeouts"]
    raw = d4rl.Raw(
        **without({**rows, "timeouts": flags}, "next_observations"), attributes={}
    )
    view = transitions.view(raw, LIMIT)
    assert view.masks.all()
    assert len(view.masks) == len(flags) - 1 - flags[:-1].sum()


def test_stored_successors_are_used_in_any_order(path):
    rows = play()
    mixed = shuffled(rows)
    dataset, warnings = load(path, mixed)
    assert warnings == []
    assert len(dataset.rewards) == len(rows["rewards"])
    np.testing.assert_array_equal(
        dataset.next_observations, mixed["next_observations"].astype(np.float32)
    )
    # A timeout bootstraps from its own successor, a terminal does not.
    np.testing.assert_array_equal(dataset.masks, 1.0 - mixed["terminals"])


def test_the_first_observation_after_a_cut_is_no_successor(path):
    rows = play()
    cut = np.flatnonzero(rows["timeouts"][:-1])
    after = rows["next_observations"].copy()
    after[cut] = rows["observations"][cut + 1]  # As vector environments report it.
    dataset, _ = load(path, {**rows, "next_observations": after})
    assert len(dataset.rewards) == len(rows["rewards"]) - len(cut)
    time = dataset.observations[:, 1]
    np.testing.assert_allclose(dataset.next_observations[:, 1] - time, 1 / LIMIT, 1e-4)


def test_files_with_d4rls_names_are_read_as_d4rl_reads_them(tmp_path):
    for name, expected in (
        ("hopper_random-v2.hdf5", True),
        ("walker2d_full_replay-v2.hdf5", True),
        ("hopper_medium-v2.hdf5", False),  # Not of that size.
        ("line_random-v2.hdf5", False),
        ("hopper.hdf5", False),
    ):
        path = tmp_path / name
        path.write_bytes(b"")
        assert d4rl.is_original(path) == expected


# Order.


def test_shuffled_rows_without_successors_are_refused(path):
    rows = play()
    load(path, without(rows, "next_observations"))
    for seed in range(3):
        with pytest.raises(checks.UserError, match=r"shuffled.*next_observations"):
            load(path, without(shuffled(rows, seed), "next_observations"))


def test_the_shuffled_demo_is_refused_and_the_demo_is_not():
    demo = d4rl.load_own(d4rl.resolve("hopper-demo"))
    warnings = []
    row_order.check_rows("demo", demo, 1000, warnings.append)
    assert warnings == []
    rows = {key: getattr(demo, key) for key in d4rl.KEYS}
    for count in (1000, 100_000):
        cut = {key: value[:count] for key, value in rows.items()}
        row_order.check_rows("demo", own(cut), 1000, warnings.append)
        with pytest.raises(checks.UserError, match="shuffled"):
            row_order.check_rows("demo", own(shuffled(cut)), 1000, warnings.append)
    assert warnings == []


def walk(size, noise, memory, seed):
    """Rows of a random walk seen through noise; every hundredth one starts anew."""
    rng, count = np.random.default_rng(seed), 1000
    state, states = rng.normal(size=size), []
    for row in range(count):
        states.append(state + noise * rng.normal(size=size))
        state = memory * state + 0.3 * rng.normal(size=size)
        if row % 100 == 99:
            state = rng.normal(size=size)
    return {
        "observations": np.array(states),
        "actions": rng.uniform(-1, 1, (count, 2)),
        "rewards": rng.normal(size=count),
        "terminals": np.zeros(count, bool),
        "timeouts": np.arange(count) % 100 == 99,
    }


@pytest.mark.parametrize("size", [1, 3, 30])
@pytest.mark.parametrize(
    ("noise", "memory"), [(0, 1), (0, 0.5), (1, 1), (10, 1), (0, 0)]
)
def test_no_random_walk_is_refused_however_noisy(size, noise, memory):
    for seed in range(3):
        warnings = []
        rows = walk(size, noise, memory, seed)
        row_order.check_rows("walk", own(rows), 100, warnings.append)
        # Of pure noise nobody can say whether it is in order.
        assert bool(warnings) == (noise == 10 or memory == 0)
        if noise == 0 and memory == 1:
            with pytest.raises(checks.UserError, match="shuffled"):
                row_order.check_rows("walk", own(shuffled(rows)), 100, warnings.append)


def test_few_rows_are_not_judged():
    rows = shuffled({k: v[:150] for k, v in play().items()})
    row_order.check_rows("few", own(rows), LIMIT, pytest.fail)


@pytest.mark.parametrize(
    ("config", "fields", "named"),
    [
        ("cal_ql", {}, "config.agent.calibrated"),
        ("bc", {}, "config.dataset.drop_unfinished"),
        (
            "iql",
            {"dataset__reward_transform": "range"},
            "config.dataset.reward_transform",
        ),
    ],
)
def test_what_needs_episodes_is_refused_on_shuffled_rows(path, config, fields, named):
    rows = play()
    load(path, rows, config, **fields)
    with pytest.raises(checks.UserError, match=r"followed by their own") as info:
        load(path, shuffled(rows), config, **fields)
    assert named in str(info.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (np.zeros_like, "never filled"),
        (lambda after: after[:, :2], "have the shape"),
        (lambda after: after[np.random.default_rng(0).permutation(400)], "shuffled"),
        (lambda after: np.full_like(after, np.nan), "NaN"),
    ],
    ids=["zeros", "shape", "shuffled", "nan"],
)
def test_successors_that_cannot_be_true_are_refused(path, change, said):
    rows = play()
    rows["next_observations"] = change(rows["next_observations"])
    with pytest.raises(checks.UserError, match="'next_observations' in") as info:
        load(path, rows)
    assert said in str(info.value)


def test_observations_stored_as_their_successors_are_refused(path):
    rows = play()
    rows["next_observations"] = rows["observations"]
    with pytest.raises(checks.UserError, match="nothing ever moves"):
        load(path, rows)


def rolled(rows, by):
    after = np.roll(rows["next_observations"], by, axis=0)
    return {**rows, "next_observations": after}


def doubts(rows):
    """What is warned of the successors; an error if they are refused."""
    warnings = []
    raw = own(rows, next_observations=rows["next_observations"])
    successors.check("F", raw, warnings.append)
    return warnings


@pytest.mark.parametrize("by", [1, 2, 7, 60, -1, -4])
def test_shifted_successors_are_refused(path, by):
    rows = rolled(play(), by)
    with pytest.raises(checks.UserError, match=r"look shifted: in \d\d% of the rows"):
        load(path, rows)


@pytest.mark.parametrize("by", [2, -1, -3])
def test_shifted_successors_are_seen_without_flags_noise_or_order(by):
    rows = rolled(play(), by)
    nothing = np.zeros(400, bool)
    assert "look shifted" in doubts({**rows, **dict.fromkeys(d4rl.FLAGS, nothing)})[0]
    assert "do not fit" in doubts(shuffled(rows))[0]
    after = rows["next_observations"]
    noise = np.random.default_rng(1).normal(size=after.shape)
    noisy = {**rows, "next_observations": after + 1e-3 * noise}
    assert "nearest to the observation of row" in doubts(noisy)[0]
    partly = np.concatenate([play()["next_observations"][:240], after[240:]])
    assert "look shifted" in doubts({**rows, "next_observations": partly})[0]


def test_successors_in_other_units_and_shifted_flags_are_seen():
    rows = play()
    after = rows["next_observations"]
    for wrong in (after * 3, (after - after.mean(0)) / 0.1, after + 5):
        with pytest.raises(checks.UserError, match="far from their rows"):
            doubts({**rows, "next_observations": wrong})
    for by in (1, -1):
        flags = {key: np.roll(rows[key], by) for key in d4rl.FLAGS}
        assert "do not fit" in doubts({**rows, **flags})[0]


def side_by_side(rows, count=4):
    """The rows of several environments, step by step in turn."""
    return {
        key: np.swapaxes(value.reshape(count, -1, *value.shape[1:]), 0, 1).reshape(
            value.shape
        )
        for key, value in rows.items()
    }


def each(choose):
    return lambda rows: {key: choose(value) for key, value in rows.items()}


def reset_at_once(rows):
    after = rows["next_observations"].copy()
    cut = np.flatnonzero((rows["timeouts"] | rows["terminals"])[:-1])
    after[cut] = rows["observations"][cut + 1]
    return {**rows, "next_observations": after}


def with_noise(rows):
    rng = np.random.default_rng(2)
    keys = "observations", "next_observations"
    return rows | {k: rows[k] + 0.1 * rng.normal(size=rows[k].shape) for k in keys}


@pytest.mark.parametrize(
    "change",
    [
        dict,
        shuffled,
        side_by_side,
        reset_at_once,
        with_noise,
        each(lambda values: values[::4]),
        each(lambda values: values[::-1]),
        each(lambda values: np.repeat(values, 2, axis=0)),
        each(lambda values: values[np.random.default_rng(3).permutation(400)[:200]]),
        lambda rows: with_noise({k: v[::4] for k, v in rows.items()}),
        lambda rows: shuffled({k: v[::2] for k, v in reset_at_once(rows).items()}),
    ],
)
def test_true_successors_pass_in_any_order(change):
    assert doubts(change(play())) == []


# Flags in most rows.


@pytest.mark.parametrize("share", [1.0, 0.9, 0.6])
@pytest.mark.parametrize("key", d4rl.FLAGS)
@pytest.mark.parametrize("stored", [True, False])
def test_flags_in_most_rows_are_a_warning(path, key, share, stored):
    rows = play() if stored else without(play(), "next_observations")
    rows[key] = np.random.default_rng(0).random(400) < share
    if key == "timeouts" and share == 1.0 and not stored:
        with pytest.raises(checks.UserError, match="At least 10"):
            load(path, rows)
        return
    _, warnings = load(path, rows)
    (text,) = [text for text in warnings if "of 400 rows" in text]
    assert f"flagged as {key!r}" in text or f"most of them in {key!r}" in text
    assert "If 0 and 1 are swapped" in text
    assert ("is left out" in text) == (key == "timeouts")


def test_data_without_terminals_pass_unless_episodes_end_early(path):
    rows = without(play(), "next_observations")
    nothing = np.zeros(400, bool)
    swapped = {**rows, "terminals": nothing}
    swapped["timeouts"] = rows["timeouts"] | rows["terminals"]
    _, warnings = load(path, swapped)
    early = [text for text in warnings if "come before the time limit" in text]
    assert bool(early) == (rows["terminals"].sum() > rows["timeouts"].sum())
    for period in (LIMIT, 10):  # Whole episodes, and pieces of one length.
        cut = np.arange(400) % period == period - 1
        warnings = []
        raw = own({**rows, "terminals": nothing, "timeouts": cut})
        plausibility.warn_of_early_timeouts("F", raw, LIMIT, warnings.append)
        assert warnings == []
    cut = np.isin(np.arange(400) % 60, (4, 11, 23, 40, 59))
    raw = own({**rows, "terminals": nothing, "timeouts": cut})
    plausibility.warn_of_early_timeouts("F", raw, LIMIT, warnings.append)
    assert "belong into 'terminals'" in warnings[0]


def test_rewards_that_are_all_zero_are_a_warning(path):
    rows = play()
    _, warnings = load(path, {**rows, "rewards": np.zeros(400)})
    assert any("All 400 'rewards'" in text for text in warnings)


# Time limits.


def test_timeouts_that_are_never_set_are_refused_where_episodes_restart(path):
    rows = without(play(), "next_observations")
    rows["timeouts"] = np.zeros(400, bool)
    for env_id in ("OwnWalk-v0", "OwnFree-v0"):
        with pytest.raises(checks.UserError, match=r"never set.*restarts there"):
            load(path, rows, env_id=env_id)
    # Counted instead of recorded.
    counted, _ = load(path, without(rows, "timeouts"))
    assert len(counted.rewards) < 399


def test_a_long_episode_without_restarts_is_a_warning(path):
    rows = walk(3, 0, 0.95, 0)
    rows["timeouts"] = np.zeros(1000, bool)
    rows["observations"] = np.cumsum(rows["observations"], axis=0)
    rows["actions"] = rows["actions"][:, :1]
    dataset, warnings = load(path, rows)
    assert len(dataset.rewards) == 999
    assert any("over its time limit" in text for text in warnings)


def test_terminals_at_the_time_limit_are_a_warning(path):
    rows = without(play(), "next_observations")
    rows["terminals"] = rows["terminals"] | rows["timeouts"]
    rows["timeouts"] = np.zeros(400, bool)
    _, warnings = load(path, rows)
    assert any("exactly at the time limit" in text for text in warnings)


def test_calibration_needs_no_time_limit(path):
    dataset, _ = load(path, play(), "cal_ql", "OwnFree-v0")
    assert np.isfinite(dataset.mc_returns).all()


# Units, rewards, counts.


def test_actions_in_the_units_of_the_environment_are_refused(path):
    rows = play()
    load(path, rows, env_id="OwnNarrow-v0")
    inside = {**rows, "actions": rows["actions"] * 0.4}
    with pytest.raises(checks.UserError, match=r"in its units.*Rescale.*RescaleAction"):
        load(path, inside, env_id="OwnNarrow-v0")
    load(path, inside)  # Bounds of 1: a timid policy.
    _, warnings = load(
        path, {**rows, "actions": rows["actions"] / 9}, env_id="OwnNarrow-v0"
    )
    assert any("in the units" in text for text in warnings)


@pytest.mark.parametrize(
    ("low", "high", "actions", "refused"),
    [
        ((0.0,), (1.0,), (0.0, 1.0), True),  # A gripper.
        ((0.0,), (1.0,), (-1.0, 1.0), False),
        ((-2.0,), (2.0,), (-1.0, 1.0), False),
        ((-0.1,), (0.3,), (-0.1, 0.3), True),
        ((-0.1,), (0.3,), (0.0, 0.0), False),  # Never acts.
    ],
)
def test_units_are_seen_by_the_bounds(low, high, actions, refused):
    task = tasks.Task("E", 3, 1, 10, action_bounds=(low, high))
    values = np.linspace(*actions, 50)[:, None]
    if refused:
        with pytest.raises(checks.UserError, match="in its units"):
            plausibility.check_units("F", values, task, pytest.fail)
    else:
        plausibility.check_units("F", values, task, pytest.fail)


def spoiled(rows, what):
    """Rows that a run refuses, each for another reason."""
    if what == "units":
        return {**rows, "actions": rows["actions"] * 0.4}
    if what == "shuffled":
        return without(shuffled(rows), "next_observations")
    if what == "successors":
        return rolled(rows, 1)
    if what == "order":
        return shuffled(rows)
    return {key: value[:9] for key, value in rows.items()}


@pytest.mark.parametrize(
    ("what", "config", "said"),
    [
        ("units", "awac", "in its units"),
        ("shuffled", "awac", "were shuffled"),
        ("successors", "awac", "look shifted"),
        ("order", "cal_ql", "followed by their own"),
        ("few", "awac", "At least 10"),
    ],
)
def test_a_dry_run_refuses_the_data_that_the_run_refuses(
    path, tmp_path, what, config, said
):
    with h5py.File(path, "w") as file:
        for key, value in spoiled(play(), what).items():
            file[key] = value
    settings = small_experiments.config(config, path, {"env_id": "OwnNarrow-v0"})
    with pytest.raises(checks.UserError, match=said):
        dry_run.describe(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_warns_of_what_the_run_warns_of(path, tmp_path):
    with h5py.File(path, "w") as file:
        for key, value in {**play(), "terminals": np.ones(400, bool)}.items():
            file[key] = value
    settings = small_experiments.config("awac", path, {"env_id": "OwnNarrow-v0"})
    text = dry_run.describe(settings, tmp_path / "run")
    assert "warning: 400 of 400 rows in" in text
    assert "dataset: about 400 transitions" in text


@pytest.mark.parametrize("values", [(-1, 0), (-5, 5), (1, 2)])
def test_sparse_rewards_without_a_zero_are_refused(values):
    rows = play()
    rewards = np.where(np.arange(400) % 50 == 0, values[1], values[0]).astype(float)
    raw = own({**rows, "rewards": rewards})
    with pytest.raises(checks.UserError, match="must be 0, and positive at the goal"):
        plausibility.check_successes("F", raw)
    plausibility.check_successes("F", own({**rows, "rewards": rewards - values[0]}))


@pytest.mark.parametrize("count", [2, 3, 9])
def test_too_few_transitions_are_refused(path, count):
    rows = {key: value[:count] for key, value in play().items()}
    for kept in (rows, without(rows, "next_observations")):
        with pytest.raises(checks.UserError, match="At least 10"):
            load(path, kept)


def test_rows_that_were_never_filled_are_a_warning(path):
    rows = play()
    padded = {k: np.concatenate([v, np.zeros_like(v[:50])]) for k, v in rows.items()}
    _, warnings = load(path, padded)
    assert any("last 50 rows" in text for text in warnings)


def test_the_view_leaves_its_rows_alone():
    raw = own(play())
    before = dataclasses.replace(raw, timeouts=raw.timeouts.copy())
    transitions.view(raw, LIMIT)
    np.testing.assert_array_equal(raw.timeouts, before.timeouts)
