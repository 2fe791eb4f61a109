"""Rows without successors go on as their flags say, or are refused by name."""

import time

import numpy as np
import pytest

from samg_jax import checks
from samg_jax.collecting import recording
from samg_jax.data import continuity, d4rl, plausibility, sources
from samg_jax.envs import tasks, vector

LIMIT = 50


def swing(episodes=40, seed=0, noise=0.0, size=4, limit=LIMIT, start=1.0):
    """Episodes of a few oscillators that actions push; some end early."""
    rng = np.random.default_rng(seed)
    rows = {key: [] for key in d4rl.KEYS}
    for _ in range(episodes):
        place, speed = start * rng.normal(size=(2, size))
        for step in range(limit):
            action = rng.uniform(-1, 1, size)
            state = np.concatenate([place, speed])
            over = bool(np.abs(place).max() > 2.8)
            ended = over, step == limit - 1 and not over
            values = state + noise * rng.normal(size=2 * size), action, 0.1, *ended
            for key, value in zip(d4rl.KEYS, values, strict=True):
                rows[key].append(value)
            if over:
                break
            speed = speed + 0.1 * (action - place)
            place = place + 0.1 * speed
    return {key: np.array(value) for key, value in rows.items()}


def own(rows):
    kinds = {"terminals": bool, "timeouts": bool}
    as_stored = {k: v.astype(kinds.get(k, np.float32)) for k, v in rows.items()}
    return d4rl.Own(attributes={}, **{"timeouts": None, **as_stored})


def task(limit=LIMIT):
    return tasks.Task("Swing-v0", 8, 4, limit)


def in_turn(rows, count):
    length = len(rows["rewards"]) // count
    return {
        key: value[: count * length]
        .reshape(count, length, *value.shape[1:])
        .swapaxes(0, 1)
        .reshape(count * length, *value.shape[1:])
        for key, value in rows.items()
    }


def moved(rows, by):
    flags = {key: np.roll(rows[key], by) for key in ("terminals", "timeouts")}
    return {**rows, **flags}


def mixed(rows, begin, end):
    length = len(rows["rewards"])
    order = np.arange(length)
    part = slice(int(begin * length), int(end * length))
    order[part] = np.random.default_rng(0).permutation(order[part])
    return {key: value[order] for key, value in rows.items()}


def by_time(rows):
    ends = np.flatnonzero(rows["terminals"] | rows["timeouts"])
    lengths = np.diff(ends, prepend=-1)
    order = np.argsort(np.concatenate([np.arange(n) for n in lengths]), kind="stable")
    return {key: value[order] for key, value in rows.items()}


def judge(rows, limit=LIMIT):
    """The checks of rows without successors; returns the warnings."""
    found = []
    plausibility.check("own", own(rows), task(limit), (), found.append)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: in_turn(rows, 2), "2 environments"),
        (lambda rows: in_turn(rows, 7), "7 environments"),
        (lambda rows: in_turn(rows, 16), "16 environments"),
        (lambda rows: moved(rows, 1), "one row too late"),
        (lambda rows: moved(rows, -1), "one row too early"),
        (lambda rows: {k: v[::-1] for k, v in rows.items()}, "backwards in time"),
        (lambda rows: mixed(rows, 0.5, 1.0), "part of the file were shuffled"),
        (lambda rows: mixed(rows, 0.0, 0.3), "part of the file were shuffled"),
        (by_time, "sorted by their time step"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_rows_that_do_not_go_on_are_refused(change, said, noise):
    with pytest.raises(checks.UserError, match=said):
        judge(change(swing(60, noise=noise)))


@pytest.mark.parametrize("kept", [1, 2, 10])
def test_a_few_timeouts_do_not_hide_the_others(kept):
    rows = swing(40, start=0.05)
    flags = np.flatnonzero(rows["timeouts"])
    rows["timeouts"][flags[kept:]] = False
    with pytest.raises(checks.UserError, match=f"set in {kept} rows only.*restarts"):
        judge(rows)
    rows = swing(40)  # It begins anywhere: no jump is beyond doubt.
    rows["timeouts"][np.flatnonzero(rows["timeouts"])[kept:]] = False
    assert f"set in {kept} rows only" in judge(rows)[0]


@pytest.mark.parametrize("kept", [5, 12])
def test_restarts_within_the_time_limit_are_seen_by_the_starts_of_others(kept):
    rows = swing(40, start=0.02)
    rows["timeouts"][np.flatnonzero(rows["timeouts"])[kept::2]] = False
    assert judge(swing(40, start=0.02), 5_000) == []
    found = " ".join(judge(rows, 5_000))
    assert "begins as after a flag" in found or "it seems to restart" in found


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [LIMIT, None])
def test_rows_in_order_pass_without_a_word(noise, seed, limit):
    rows = swing(40, seed, noise)
    pieces = {**rows, "timeouts": np.zeros(len(rows["rewards"]), bool)}
    pieces["timeouts"][LIMIT - 1 :: LIMIT] = True
    assert judge(rows, limit) == []
    continuity.check("own", own(pieces), pytest.fail)


def test_independent_rows_and_systems_that_swing_fast_are_not_in_turn():
    rng = np.random.default_rng(0)
    continuity.check_side_by_side("noise", rng.normal(size=(2000, 3)))
    signs = np.where(np.arange(2000) % 2, 1.0, -1.0)[:, None]
    continuity.check_side_by_side("flips", signs + 0.1 * rng.normal(size=(2000, 3)))
    turns = np.arange(2000)[:, None] * 2 * np.pi / 5 + np.array([0, 1, 2])
    continuity.check_side_by_side("turns", np.sin(turns))


def test_the_demo_passes_without_a_word():
    raw, _ = sources.read("hopper-demo", None)
    rows = {key: getattr(raw, key) for key in d4rl.KEYS}
    found = []
    hopper = tasks.for_env_id("Hopper-v4")
    plausibility.check("demo", own(rows), hopper, (), found.append)
    assert found == []


@pytest.mark.parametrize("smooth", [0.0, 0.9])
def test_steps_of_half_cheetah_as_they_are_collected_pass_without_a_word(smooth):
    env = vector.make("HalfCheetah-v4", 4, [0, 1, 2, 3], "d4rl")
    rng, recorder = np.random.default_rng(0), recording.Recorder()
    actions, observations = np.zeros((4, 6)), env.reset()
    for _ in range(1_200):
        noise = rng.uniform(-1, 1, actions.shape)
        actions = np.clip(smooth * actions + (1 - smooth) * noise, -1, 1)
        outcome = env.step(actions)
        recorder.add(observations, actions, outcome)
        observations = outcome.observations
    env.close()
    found = []
    cheetah = tasks.for_env_id("HalfCheetah-v4")
    plausibility.check("own", own(recorder.rows()), cheetah, (), found.append)
    # Nothing terminates, and the last episodes were cut when the collection ended.
    assert found == []


def test_policies_of_all_levels_after_each_other_pass_without_a_word():
    levels = [swing(20, seed, noise=0.01, limit=LIMIT) for seed in range(6)]
    for level, rows in enumerate(levels):
        rows["observations"] = rows["observations"] * (1 + level)
    replay = {k: np.concatenate([rows[k] for rows in levels]) for k in d4rl.KEYS}
    assert judge(replay) == []


def test_a_million_rows_take_little_time():
    rng = np.random.default_rng(0)
    flags = np.arange(1_000_000) % 1000 == 999
    raw = d4rl.Own(
        observations=rng.standard_normal((1_000_000, 27), np.float32).cumsum(0),
        actions=np.zeros((1_000_000, 8), np.float32),
        rewards=np.zeros(1_000_000, np.float32),
        terminals=np.zeros(1_000_000, bool),
        timeouts=flags,
        attributes={},
    )
    began = time.process_time()
    continuity.check("own", raw, lambda text: None)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("share", [0.6, 0.999])
def test_more_successes_than_not_are_refused(share):
    rewards = (np.arange(1000) < 1000 * share).astype(np.float32)
    rows = {**swing(20), "rewards": rewards}
    with pytest.raises(checks.UserError, match="1 - reward"):
        plausibility.check_successes("own", own(rows))
    rows["rewards"] = 1 - rewards
    plausibility.check_successes("own", own(rows))
