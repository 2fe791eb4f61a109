"""All seeds in one batch: each is the seed run alone, and fails alone."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.experiment import datasets, resolve
from samg_jax.runs import live_run, schedule
from samg_jax.training import offline_phase, online_phase, seed_axis
from tests.fixtures import recording_algorithm, small_runs

BATCH = {"num_seeds": 4}
ALONE = {"seed": 2, "num_seeds": 1}


def test_streams_differ_by_seed_name_and_step():
    streams = [
        (0, "offline", 0),
        (1, "offline", 0),
        (0, "online", 0),
        (0, "offline", 1),
        (0, "online", 0, 0),
        (0, "online", 0, 1),
        (0, "online", 1, 0),
    ]
    keys = [jax.random.key_data(seed_axis.stream(*stream)) for stream in streams]
    assert len({tuple(np.asarray(key)) for key in keys}) == len(streams)
    again = jax.random.key_data(seed_axis.stream(np.uint32(0), "offline", jnp.int32(1)))
    np.testing.assert_array_equal(again, keys[3])


def test_simulators_are_seeded_by_the_value_of_the_seed():
    batch = seed_axis.host_seeds(np.arange(4, dtype=np.uint32), "evaluation", 3)
    alone = seed_axis.host_seeds(np.array([2], np.uint32), "evaluation", 3)
    training = seed_axis.host_seeds(np.arange(4, dtype=np.uint32), "training", 3)
    assert batch[6:9] == alone
    assert len({*batch, *training}) == 24


def env_step(task, seeds, step):
    """Returns answers of environments that depend on seed and step only."""
    rows = [np.random.default_rng((int(seed), step)) for seed in seeds]
    observations = np.stack([r.normal(size=task.observation_size) for r in rows])
    observations = observations.astype(np.float32)
    rewards = np.array([r.normal() for r in rows], np.float32)
    return online_phase.EnvStep(
        rewards, observations, np.ones_like(rewards), observations
    )


def probed(dataset, overrides, steps):
    """Returns what the updates of every seed were handed, `[steps, S, ...]`."""
    settings = small_runs.config(
        "awac_samg",
        dataset,
        guidance__weight="random",
        online__data="buffer",
        **overrides,
    )
    experiment = recording_algorithm.experiment(settings, 16)
    rows = recording_algorithm.dataset(300, experiment.task)
    state = offline_phase.init(
        experiment, recording_algorithm.preprocessing(experiment.task)
    )
    update = offline_phase.make_updates(experiment, 16)
    seen = []
    for step in range(steps):
        state, _ = update(state, rows, step, length=1)
        seen.append(jax.device_get((state.agent.batch.rewards, state.agent.draw)))
    first = np.zeros(
        (len(experiment.seeds), experiment.task.observation_size), np.float32
    )
    state = online_phase.init(experiment, settings.online, state, first)
    take = online_phase.make_step(experiment, settings.online)
    for step in range(steps):
        actions = np.asarray(state.actions)
        state = take(state, env_step(experiment.task, experiment.seeds, step), None, 1)
        agent = state.agent
        observed = (agent.batch.rewards, agent.draw, agent.weights, actions)
        seen.append(jax.device_get(observed))
    return seen


def test_a_seed_of_a_batch_draws_exactly_what_it_draws_alone(dataset):
    batch, alone = probed(dataset, BATCH, 10), probed(dataset, ALONE, 10)
    for of_all, own in zip(batch, alone, strict=True):
        for values, value in zip(of_all, own, strict=True):
            np.testing.assert_array_equal(values[2:3], value)
            assert not np.array_equal(values[1:2], value)


def test_draws_do_not_depend_on_how_many_updates_a_call_takes(dataset):
    settings = small_runs.config(
        "awac_samg", dataset, guidance__weight="random", **BATCH
    )
    experiment = recording_algorithm.experiment(settings, 16)
    rows = recording_algorithm.dataset(300, experiment.task)
    update = offline_phase.make_updates(experiment, 16)

    def last_draws(*lengths):
        state, start = (
            offline_phase.init(
                experiment, recording_algorithm.preprocessing(experiment.task)
            ),
            0,
        )
        for length in lengths:
            state, _ = update(state, rows, start, length=length)
            start += length
        return jax.device_get((state.agent.batch.rewards, state.agent.draw))

    one_by_one = last_draws(*[1] * 20)
    for lengths in ([20], [13, 7], [10, 10]):
        for values, wanted in zip(last_draws(*lengths), one_by_one, strict=True):
            np.testing.assert_array_equal(values, wanted)
    assert not np.array_equal(last_draws(*[1] * 19)[0], one_by_one[0])


@pytest.mark.parametrize("name", ["awac", "cql"])
def test_a_seed_of_a_batch_learns_what_it_learns_alone(name, dataset):
    states = []
    for overrides in (BATCH, ALONE):
        settings = small_runs.config(name, dataset, online__data="buffer", **overrides)
        experiment, data, start = prepared(settings)
        update = offline_phase.make_updates(experiment, 16)
        state, _ = update(start, data, 0, length=50)
        if name == "awac":
            first = np.asarray(data.observations[experiment.seeds])
            state = online_phase.init(experiment, settings.online, state, first)
            step = online_phase.make_step(experiment, settings.online)
            for count in range(10):
                state = step(
                    state, env_step(experiment.task, experiment.seeds, count), None, 1
                )
            assert state.agent.step == 60
        assert state.agent.step.shape == ()
        states.append(
            seed_axis.select(state.agent, np.array([2 % len(experiment.seeds)]))
        )
    batch, alone = states
    np.testing.assert_array_equal(batch.step, alone.step)
    for field in ("actor", "critic", "target_critic"):
        for own, other in zip(
            jax.tree.leaves(getattr(batch, field)),
            jax.tree.leaves(getattr(alone, field)),
            strict=True,
        ):
            # Relative to the size of the array: single numbers may be near 0.
            scale = max(np.abs(own).max(), 1e-8)
            assert np.abs(own - other).max() <= 1e-4 * scale


def prepared(settings):
    """The experiment, data on the device, and the state before the first update."""
    experiment = resolve.experiment(settings)
    data, preprocessing, _ = datasets.load(experiment, str)
    return (
        experiment,
        jax.device_put(data),
        offline_phase.init(experiment, preprocessing),
    )


def test_update_counters_are_shared_by_all_seeds(dataset):
    for name in ("awac", "cql"):
        _, _, state = prepared(small_runs.config(name, dataset, **BATCH))
        axes = seed_axis.axes(state.agent)
        assert axes.step is None
        assert state.agent.step.shape == ()
        assert set(jax.tree.leaves(axes)) == {0}
        for leaf, axis in zip(
            jax.tree.leaves(state.agent),
            jax.tree.leaves(axes, is_leaf=lambda x: x is None),
            strict=True,
        ):
            assert axis is None or leaf.shape[0] == 4


def rows_drawn(seed, step, num_rows, batch_size=16):
    """Returns the rows of an offline batch, computed from the seed's stream alone."""
    key = jax.random.split(seed_axis.stream(seed, "offline", step))[0]
    return np.asarray(jax.random.randint(key, (batch_size,), 0, num_rows))


def a_row_of_one_seed(seed, others, updates, num_rows):
    """Returns a row that only `seed` draws, and the update at which it first does."""
    taken = {
        int(row)
        for other in others
        for step in range(updates)
        for row in rows_drawn(other, step, num_rows)
    }
    for step in range(5, updates):
        before = {
            int(row) for s in range(step) for row in rows_drawn(seed, s, num_rows)
        }
        free = set(rows_drawn(seed, step, num_rows).tolist()) - taken - before
        if free:
            return free.pop(), step
    raise AssertionError("Every row is drawn by another seed.")


def test_a_seed_that_fails_offline_is_frozen_and_the_others_go_on(dataset):
    experiment, data, start = prepared(small_runs.config("awac", dataset, num_seeds=2))
    row, failing = a_row_of_one_seed(1, [0], 20, len(data.rewards))
    poisoned = data.replace(rewards=data.rewards.at[row].set(jnp.nan))
    update = offline_phase.make_updates(experiment, 16)

    def train(data):
        state, history = jax.tree.map(jnp.copy, start), []
        for step in range(20):
            state, _ = update(state, data, step, length=1)
            history.append(jax.device_get(state))
        return history

    clean, broken = train(data), train(poisoned)
    assert broken[failing - 1].alive.all()
    np.testing.assert_array_equal(broken[failing].alive, [True, False])
    np.testing.assert_array_equal(broken[-1].failed_step, [-1, failing])
    last = np.array([1])
    small_runs.assert_same_arrays(
        as_names(seed_axis.select(broken[-1].agent, last).replace(step=0)),
        as_names(seed_axis.select(clean[failing - 1].agent, last).replace(step=0)),
    )
    small_runs.assert_same_arrays(
        as_names(seed_axis.select(broken[-1].agent, np.array([0]))),
        as_names(seed_axis.select(clean[-1].agent, np.array([0]))),
    )


def test_a_seed_that_fails_in_a_longer_call_is_as_it_was_at_the_last_look(dataset):
    experiment, data, start = prepared(small_runs.config("awac", dataset, num_seeds=2))
    row, failing = a_row_of_one_seed(1, [0], 40, len(data.rewards))
    poisoned = data.replace(rewards=data.rewards.at[row].set(jnp.nan))
    update = offline_phase.make_updates(experiment, 16)
    look = failing // offline_phase.LOOK_EVERY * offline_phase.LOOK_EVERY
    before = jax.tree.map(jnp.copy, start)
    if look:
        before, _ = update(before, data, 0, length=look)
    after, metrics = update(jax.tree.map(jnp.copy, start), poisoned, 0, length=40)
    np.testing.assert_array_equal(after.alive, [True, False])
    np.testing.assert_array_equal(after.failed_step, [-1, failing])
    for seed, finite in ((0, True), (1, False)):
        assert np.isfinite(metrics["critic_loss"][seed]) == finite
    kept = as_names(seed_axis.select(after.agent, np.array([1])).replace(step=0))
    wanted = as_names(seed_axis.select(before.agent, np.array([1])).replace(step=0))
    for name, array in kept.items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-7)


def as_names(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_a_run_in_which_a_seed_fails_offline_says_so(
    samg_run, dataset, tmp_path, monkeypatch, capsys
):
    load = datasets.load

    def poisoned(*args):
        data, preprocessing, source = load(*args)
        row, _ = a_row_of_one_seed(1, [0], 60, len(data.rewards))
        rewards = np.array(data.rewards)
        rewards[row] = np.nan
        return data.replace(rewards=rewards), preprocessing, source

    monkeypatch.setattr(datasets, "load", poisoned)
    small_runs.run("awac_samg", dataset, tmp_path)
    assert_failed(tmp_path, samg_run, capsys.readouterr().out, "update")
    assert all(
        row.failed for row in small_runs.evaluations(tmp_path)[-2:] if row.seed == 1
    )


def test_a_run_in_which_a_seed_fails_online_says_so(
    samg_run, dataset, tmp_path, monkeypatch, capsys
):
    answers = iter(range(1, 1000))
    to_env_step = online_phase.to_env_step

    def poisoned(step):
        answer = to_env_step(step)
        if next(answers) == 30:
            answer.rewards[1] = np.nan
        return answer

    monkeypatch.setattr(online_phase, "to_env_step", poisoned)
    small_runs.run("awac_samg", dataset, tmp_path, offline__restore=str(samg_run))
    assert_failed(tmp_path, samg_run, capsys.readouterr().out, "environment step")
    own = [row for row in small_runs.evaluations(tmp_path) if row.seed == 1]
    assert [row.env_step for row in own if not row.failed] == [0, 25]
    saved = small_runs.saved(tmp_path)
    np.testing.assert_array_equal(saved["['alive']"], [True, False])
    assert 30 <= saved["['failed_step']"][1] <= 60
    for name, array in saved.items():
        if name.startswith("['agent']"):
            assert np.isfinite(array).all(), name


def assert_failed(workdir, reference, printed, unit):
    """Seed 1 failed, is named everywhere, and left no trace in seed 0."""
    log = (workdir / "log.txt").read_text()
    assert f"Seed 1 became non-finite at {unit} " in log
    assert "Seed 0 became" not in log
    own = [row for row in small_runs.evaluations(workdir) if row.seed == 1]
    assert own[-1].failed
    assert np.isfinite(own[-1].return_mean)
    table = {line[:6]: line for line in printed.splitlines()}
    assert table["seed 1"].endswith("failed")
    assert "failed" not in table["seed 0"]
    assert table["mean  "].endswith("of 1 that lasted")
    assert small_runs.scores(workdir, seeds=[0]) == small_runs.scores(
        reference, seeds=[0]
    )
    saved, expected = small_runs.saved(workdir), small_runs.saved(reference)
    for name in saved:
        if name.startswith(("['agent']", "['buffer']")) and saved[name].ndim:
            np.testing.assert_array_equal(saved[name][0], expected[name][0], name)


def test_a_failed_seed_is_reported_with_its_value_and_time(dataset, caplog):
    experiment = resolve.experiment(
        small_runs.config("awac", dataset, seed=5, num_seeds=3)
    )
    run = types.SimpleNamespace(experiment=experiment, failed=set())
    state = types.SimpleNamespace(
        alive=np.array([True, False, True]), failed_step=np.array([-1, 17, -1])
    )
    live_run.report_failures(run, state, "update")
    live_run.report_failures(run, state, "update")  # Not a second time.
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Seed 6 became non-finite at update 17" in caplog.text


def test_segments_after_a_stop_are_those_of_a_whole_run():
    whole = list(schedule.segments(0, 2345, [10, 25, 400]))
    assert whole[0][0] == 0
    assert whole[-1][1] == 2345
    for start, _ in whole:
        rest = list(schedule.segments(start, 2345, [10, 25, 400]))
        assert rest == [segment for segment in whole if segment[0] >= start]
