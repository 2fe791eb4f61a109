"""The online phase: what is stored, what is sampled, what is learned, and when."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.data import replay
from samg_jax.envs import vector
from samg_jax.experiment import datasets
from samg_jax.guidance import weights
from samg_jax.training import guidance_metrics, offline_phase, online_phase, seed_axis
from samg_jax.types import Batch
from tests.fixtures import recording_algorithm, small_runs


def transition(number, seeds=2):
    """Returns a transition per seed that holds `number` and the seed's place."""
    values = jnp.float32(number) + 1000.0 * jnp.arange(seeds)
    two = jnp.stack([values, -values], axis=1)
    return Batch(two, two, values, two + 0.5, values, values, values)


@pytest.mark.parametrize("count", [1, 4, 5, 6, 13])
def test_the_buffer_is_a_ring(count):
    buffer = replay.create(5, 2, 2)
    buffers = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), buffer)
    ring = np.zeros((2, 5), np.float32)
    insert = jax.jit(replay.insert)
    for number in range(count):
        buffers = insert(buffers, transition(number + 1), jnp.int32(number))
        ring[:, number % 5] = np.asarray(transition(number + 1).rewards)
    np.testing.assert_array_equal(buffers.rewards, ring)
    np.testing.assert_array_equal(buffers.weights, ring)
    np.testing.assert_array_equal(buffers.observations[..., 1], -ring)

    one = jax.tree.map(lambda leaf: leaf[1], buffers)
    batch = replay.sample(one, jnp.int32(count), jax.random.key(0), 500)
    newest = {1000.0 + number for number in range(max(count - 5, 0) + 1, count + 1)}
    assert set(np.asarray(batch.rewards).tolist()) == newest
    np.testing.assert_array_equal(batch.next_observations[:, 0], batch.rewards + 0.5)
    shares = np.unique(np.asarray(batch.rewards), return_counts=True)[1] / 500
    assert np.abs(shares - 1 / len(newest)).max() < 0.1


class Stage:
    """The online phase with the probe; every reward is the number of its step."""

    def __init__(self, dataset, rows=0, name="awac_samg", **overrides):
        overrides = {"online__batch_size": 64, **overrides}
        self.settings = small_runs.config(name, dataset, **overrides)
        size = self.settings.online.batch_size
        self.experiment = recording_algorithm.experiment(self.settings, size)
        task = self.experiment.task
        self.dataset = recording_algorithm.dataset(rows, task) if rows else None
        pretrained = offline_phase.init(
            self.experiment, recording_algorithm.preprocessing(task)
        )
        first = np.zeros((2, task.observation_size), np.float32)
        self.state = online_phase.init(
            self.experiment, self.settings.online, pretrained, first
        )
        self.take = online_phase.make_step(self.experiment, self.settings.online)

    def step(self, turns=1):
        number = int(self.state.count)
        observations = np.full(self.state.observations.shape, number + 1, np.float32)
        env_step = online_phase.EnvStep(
            np.full(2, number, np.float32),
            observations,
            np.full(2, number % 2, np.float32),
            observations,
        )
        self.state = self.take(self.state, env_step, self.dataset, turns)
        return jax.device_get(self.state)


def test_a_step_stores_what_happened(dataset):
    stage = Stage(dataset, guidance__weight="constant", guidance__constant=0.25)
    actions = []
    for _ in range(7):
        actions.append(np.asarray(stage.state.actions))
        state = stage.step()
    buffer = jax.tree.map(lambda leaf: leaf[:, :7], state.buffer)
    steps = np.broadcast_to(np.arange(7, dtype=np.float32), (2, 7))
    np.testing.assert_array_equal(buffer.rewards, steps)
    np.testing.assert_array_equal(buffer.observations[..., 0], steps)
    np.testing.assert_array_equal(buffer.next_observations[..., 0], steps + 1)
    np.testing.assert_array_equal(buffer.masks, steps % 2)
    np.testing.assert_array_equal(buffer.weights, np.full((2, 7), 0.25))
    np.testing.assert_array_equal(buffer.actions, np.stack(actions, axis=1))
    assert state.count == 7


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_a_step_takes_as_many_updates_as_it_is_told(turns, dataset):
    stage = Stage(dataset, guidance__weight="none")
    draws = set()
    for _ in range(4):
        state = stage.step(turns)
        draws |= set(state.agent.draw.tolist())
    np.testing.assert_array_equal(state.agent.updates, [4 * turns] * 2)
    assert state.agent.step == 4 * turns
    assert state.summed == 4 * turns
    assert len(draws) == (8 if turns else 2)
    # The sums count every update of a step, not its last one.
    if turns == 0:
        np.testing.assert_array_equal(state.sums["loss"], [0, 0])


def test_append_samples_uniformly_over_offline_and_online_data(dataset):
    stage = Stage(
        dataset, rows=30, name="awac", online__data="append", online__batch_size=2048
    )
    for count in range(1, 11):
        rewards = stage.step().agent.batch.rewards
        values = np.concatenate([-1.0 - np.arange(30), np.arange(count)])
        for seed in range(2):
            found, counts = np.unique(rewards[seed], return_counts=True)
            assert set(found) <= set(values)
            expected = 2048 / len(values)
            error = 6 * np.sqrt(expected)  # Far beyond chance, for any value.
            assert len(found) == len(values)
            assert np.abs(counts - expected).max() < error
            share = np.mean(rewards[seed] >= 0)
            wanted = count / len(values)
            assert abs(share - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 2048)


def test_mix_takes_the_exact_share_of_each(dataset):
    stage = Stage(
        dataset, rows=30, name="awac", online__data="mix", online__offline_share=0.25
    )
    for count in range(1, 6):
        rewards = stage.step().agent.batch.rewards
        np.testing.assert_array_equal((rewards < 0).sum(axis=1), [16, 16])
        assert rewards.max() <= count - 1
        assert rewards.min() >= -30
    assert len(np.unique(rewards)) > 15


def test_buffer_samples_online_data_alone(dataset):
    stage = Stage(dataset, guidance__weight="none")
    for count in range(1, 6):
        rewards = stage.step().agent.batch.rewards
        for seed in range(2):
            assert set(rewards[seed].tolist()) == set(range(count))


def test_guidance_ends_exactly_at_the_cutoff(dataset):
    stage = Stage(
        dataset,
        guidance__weight="constant",
        guidance__constant=0.5,
        guidance__strength=0.5,
        guidance__cutoff_steps=4,
    )
    used = [stage.step().agent.weights for _ in range(8)]
    np.testing.assert_array_equal(used[:4], np.full((4, 2, 64), 0.25))
    np.testing.assert_array_equal(used[4:], np.zeros((4, 2, 64)))
    # The stored weights are the bare p all the while.
    np.testing.assert_array_equal(
        stage.state.buffer.weights[:, :8], np.full((2, 8), 0.5)
    )


def test_every_update_uses_the_weights_stored_with_its_rows(dataset):
    stage = Stage(dataset, guidance__weight="random", guidance__strength=0.5)
    for _ in range(6):
        state = stage.step()
    stored = np.asarray(state.buffer.weights)
    assert len(np.unique(stored[:, :6])) == 12
    for seed in range(2):
        rows = state.agent.batch.rewards[seed].astype(int)
        np.testing.assert_allclose(
            state.agent.weights[seed], 0.5 * stored[seed, rows], atol=1e-6
        )


@pytest.mark.parametrize("count", [1, 4, 5, 6, 13])
def test_the_newest_transitions_are_read_from_the_ring(count):
    rows = jnp.zeros(5)
    for number in range(count):
        rows = rows.at[number % 5].set(number)
    buffer = Batch(*[rows] * 7)
    newest = replay.newest(buffer, jnp.int32(count), 3).rewards[: min(count, 3)]
    np.testing.assert_array_equal(newest, np.arange(count)[::-1][:3])


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_quantiles_are_those_of_the_transitions_that_there_are(count):
    p = np.random.default_rng(count).uniform(-0.5, 1, 7).clip(0).astype(np.float32)
    found = jax.jit(guidance_metrics.fresh_weights)(p, count)
    there = p[:count]
    for level, name in [(0.05, "q05"), (0.5, "q50"), (0.95, "q95")]:
        expected = np.quantile(there, level)
        np.testing.assert_allclose(found[f"fresh_weight_{name}"], expected, atol=1e-6)
    assert found["fresh_weight_active"] == pytest.approx(np.mean(there > 0))


def test_diagnostics_are_what_a_hand_finds(dataset):
    stage = Stage(dataset, guidance__weight="random", guidance__strength=0.5)
    diagnose = guidance_metrics.make_diagnostics(
        stage.experiment, stage.settings.online
    )
    for _ in range(25):
        state = stage.step()
        found = jax.device_get(diagnose(stage.state))
    assert diagnose._cache_size() == 1
    fresh = np.asarray(state.buffer.weights)[:, 15:25]  # Logged every ten steps.
    for seed in range(2):
        one = {name: values[seed] for name, values in found.items()}
        key = seed_axis.stream(jnp.uint32(seed), "diagnostics", 25)
        rows = jax.tree.map(lambda leaf, s=seed: leaf[s], state.buffer)
        batch = replay.sample(rows, 25, jax.random.split(key)[0], 64)
        p, r, m = (np.float64(x) for x in (batch.weights, batch.rewards, batch.masks))
        # All values are 1 online and 0 offline; Q is 1.
        guided = 1 - 0.5 * p
        sizes = np.abs(r + 0.99 * m * guided - 1)
        expected = {
            "fresh_weight_q25": np.quantile(fresh[seed], 0.25),
            "fresh_weight_active": 1,
            "fresh_p_int_q25": np.quantile(fresh[seed], 0.25),  # It is not cut.
            "threshold": np.nan,
            "weight_mean": 0.5 * p.mean(),
            "weight_active": 1,
            "guidance_term": np.mean(0.99 * m * 0.5 * p),
            "value_online": 1,
            "value_offline": 0,
            "value_gap": 1,
            "td_error_guided": sizes.mean(),
            "td_error_unguided": np.nan,
        }
        for name, value in expected.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-5, err_msg=name)


def test_p_int_is_logged_as_it_is_before_the_cut(samg_run, samg, dataset):
    experiment, _, state = samg
    every = small_runs.config("awac_samg", dataset).online.log_every
    logged = small_runs.training(samg_run, "fresh_p_int_q50")
    cut = small_runs.training(samg_run, "fresh_weight_q50")
    for seed in range(2):
        guidance, buffer = (
            jax.tree.map(lambda leaf, s=seed: leaf[s], tree)
            for tree in (state.guidance, state.buffer)
        )
        rows = slice(60 - every, 60)
        p_int = weights.cvae_probabilities(
            experiment.guidance,
            guidance.weight,
            1.0,
            buffer.observations[rows],
            buffer.actions[rows],
        )
        stored = np.asarray(buffer.weights[rows])
        np.testing.assert_allclose(stored, np.where(p_int < 0.5, 0, p_int), rtol=1e-4)
        median = np.median(p_int)
        assert logged[seed, 60, 60] == pytest.approx(median, rel=1e-4)
        assert logged[seed, 60, 60] != cut[seed, 60, 60] or median >= 0.5
        assert small_runs.training(samg_run, "threshold")[seed, 60, 60] == 0.5


def test_td_errors_are_split_by_the_weight():
    errors = np.float32([[1, -2, 3, 5], [3, 0, -5, 1]])
    split = jax.jit(guidance_metrics.split_errors)
    found = split(errors, np.float32([0, 0.5, 0, 1]))
    assert found["td_error_guided"] == np.mean([1, 3])
    assert found["td_error_unguided"] == np.mean([2, 4])
    found = split(errors, np.zeros(4, np.float32))
    assert np.isnan(found["td_error_guided"])
    assert found["td_error_unguided"] == 2.5


@pytest.mark.parametrize("name", ["awac", "awac_samg"])
def test_the_buffer_is_updated_in_place_by_one_compiled_program(name, dataset):
    overrides = {"online__steps": 50_000, "online__buffer_size": 50_000}
    overrides |= {"guidance__weight": "constant"} if name == "awac_samg" else {}
    settings = small_runs.config(name, dataset, **overrides)
    experiment = small_runs.resolve.experiment(settings)
    data, preprocessing, _ = datasets.load(experiment, str)
    data = jax.device_put(data) if name == "awac" else None
    first = np.zeros((2, experiment.task.observation_size), np.float32)
    pretrained = offline_phase.init(experiment, preprocessing)
    state = online_phase.init(experiment, settings.online, pretrained, first)
    step = online_phase.make_step(experiment, settings.online)
    env_step = online_phase.EnvStep(np.ones(2, np.float32), first, np.ones(2), first)

    needs = step.lower(state, env_step, data, 1).compile().memory_analysis()
    buffer_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state.buffer))
    assert needs.alias_size_in_bytes >= buffer_bytes
    assert needs.temp_size_in_bytes < buffer_bytes / 4
    for count in range(20):
        before = state
        place = before.buffer.observations.unsafe_buffer_pointer()
        state = step(state, env_step, data, int(count > 3))
        assert before.buffer.observations.is_deleted()
        assert before.agent.critic.params["params"] is not None
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.agent.critic))
        assert state.buffer.observations.unsafe_buffer_pointer() == place
    assert step._cache_size() == 1


def test_time_limits_are_no_terminals_but_falls_are(dataset):
    experiment = small_runs.resolve.experiment(small_runs.config("awac", dataset))
    env = small_runs.make_env(experiment)
    env.max_episode_steps = 20
    rng, seen = np.random.default_rng(0), {"limit": 0, "fall": 0}
    for _ in range(200):
        step = env.step(rng.uniform(-1, 1, (2, experiment.task.action_size)))
        env_step = online_phase.to_env_step(step)
        ends = step.terminals & (step.episode_lengths < env.max_episode_steps)
        np.testing.assert_array_equal(env_step.masks, np.where(ends, 0, 1))
        for index in np.flatnonzero(step.dones):
            limit = step.episode_lengths[index] == env.max_episode_steps
            seen["limit" if limit else "fall"] += 1
            assert env_step.masks[index] == (1.0 if limit else 0.0)
            # The stored successor is the true one, not the next episode's start.
            start, end = env_step.observations[index], env_step.next_observations[index]
            assert not np.array_equal(start, end)
            np.testing.assert_array_equal(end, step.next_observations[index])
            np.testing.assert_array_equal(start, env.observations[index])
    env.close()
    assert min(seen.values()) >= 2


def test_an_end_of_the_task_on_the_last_allowed_step_is_a_time_limit(dataset):
    # As CORL stores it: section by section its flag is `done and step < limit`.
    experiment = small_runs.resolve.experiment(small_runs.config("awac", dataset))
    actions = np.random.default_rng(0).uniform(
        -1, 1, (100, 2, experiment.task.action_size)
    )
    lengths, masks = {}, {}
    for shorter in (0, 1):
        env = small_runs.make_env(experiment)
        if shorter:
            env.max_episode_steps = lengths[0]
        for taken in actions:
            step = env.step(taken)
            if step.dones[0]:
                break
        assert step.terminals[0]
        assert not step.truncations[0]
        lengths[shorter] = int(step.episode_lengths[0])
        masks[shorter] = float(online_phase.to_env_step(step).masks[0])
        env.close()
    assert lengths[0] == lengths[1]
    assert masks == {0: 0.0, 1: 1.0}


@pytest.fixture(scope="module")
def samg(samg_run, dataset):
    """The experiment, and the states at the switch and at the end, of the SAMG run."""
    settings = small_runs.config("awac_samg", dataset)
    experiment, pretrained = small_runs.offline_state(settings, samg_run / "offline")
    return experiment, pretrained, small_runs.online_state(settings, samg_run)[1]


def test_stored_weights_are_the_weight_function_of_the_stored_pairs(samg):
    experiment, pretrained, state = samg
    fn = weights.weights(experiment.guidance)
    for seed in range(2):
        rows, guidance = jax.tree.map(
            lambda leaf, s=seed: leaf[s], (state.buffer, state.guidance)
        )
        expected = fn(
            guidance,
            rows.observations,
            rows.actions,
            rows.next_observations,
            jax.random.key(0),
        )
        np.testing.assert_allclose(rows.weights, expected, atol=1e-5)
        assert 0 < np.mean(np.asarray(expected) > 0) < 1  # Some are cut, some not.
    jax.tree.map(
        np.testing.assert_array_equal, state.guidance.weight, pretrained.weight
    )
    jax.tree.map(
        np.testing.assert_array_equal,
        state.guidance.offline,
        pretrained.agent.target_critic,
    )


def test_the_warm_up_acts_by_the_offline_policy(samg):
    experiment, pretrained, state = samg
    for seed in range(2):
        agent = seed_axis.select(pretrained.agent, seed)
        rows = jax.tree.map(lambda leaf, s=seed: leaf[s], state.buffer)
        observations = state.preprocessing.normalizer(rows.observations)
        keys = jax.vmap(
            functools.partial(seed_axis.stream, jnp.uint32(seed), "explore")
        )(jnp.arange(60))
        actions = jax.vmap(
            lambda row, key, agent=agent: experiment.online.explore(
                agent, row[None], key
            )[0]
        )(observations, keys)
        error = np.abs(np.asarray(actions) - np.asarray(rows.actions)).max(axis=1)
        # Action 25 is drawn before the first update, action 26 after it.
        assert error[:26].max() < 1e-5
        assert error[27:].max() > 1e-5


def counted_steps(monkeypatch):
    """Records the number of updates of every step, the agents, and the program."""
    record = {"turns": [], "agents": []}
    make = online_phase.make_step

    def recording(*args):
        step = record["step"] = make(*args)

        def wrapper(state, env_step, dataset, turns):
            state = step(state, env_step, dataset, turns)
            record["turns"].append(turns)
            record["agents"].append(jax.device_get(state.agent))
            return state

        return wrapper

    monkeypatch.setattr(online_phase, "make_step", recording)
    return record


def test_the_warm_up_learns_nothing_and_then_the_utd_ratio_holds(
    samg_run, samg, dataset, tmp_path, monkeypatch
):
    record = counted_steps(monkeypatch)
    changes = {"offline__restore": str(samg_run), "online__updates_per_step": 3}
    small_runs.run("awac_samg", dataset, tmp_path, **changes)
    assert record["turns"] == [0] * 25 + [3] * 35
    pretrained = samg[1].agent
    for agent in record["agents"][:25]:
        jax.tree.map(np.testing.assert_array_equal, agent, pretrained)
    steps = [int(agent.step) - 60 for agent in record["agents"]]
    assert steps == [0] * 25 + [3 * (n + 1) for n in range(35)]
    assert record["step"]._cache_size() == 1
    assert (
        small_runs.online_state(
            small_runs.config("awac_samg", dataset, **changes), tmp_path
        )[1].agent.step
        == 60 + 3 * 35
    )


def test_the_guidance_term_is_zero_at_the_switch_and_grows(samg_run):
    terms = small_runs.training(samg_run, "guidance_term")
    for seed in range(2):
        # Nothing was learned before step 25: both values are the same network's.
        assert abs(terms[seed, 60, 25]) < 1e-6
        assert terms[seed, 60, 60] > 1e-4
        assert terms[seed, 60, 60] > terms[seed, 60, 30]
    active = small_runs.training(samg_run, "weight_active")
    assert all(0 < value < 1 for value in active.values())
    # Q is the frozen one until something is learned.
    gaps = small_runs.training(samg_run, "value_gap")
    assert all((gap < 1e-6) == (place[2] <= 25) for place, gap in gaps.items())


@pytest.mark.usefixtures("without_data")
def test_a_strength_of_zero_is_the_run_without_guidance(samg_run, dataset, tmp_path):
    cases = {
        "none": {"guidance__weight": "none"},
        "strength": {"guidance__strength": 0.0},
    }
    for name, changes in cases.items():
        changes["offline__restore"] = str(samg_run)
        small_runs.run("awac_samg", dataset, tmp_path / name, **changes)
    found = {name: small_runs.saved(tmp_path / name) for name in cases}
    bare, zero, guided = found["none"], found["strength"], small_runs.saved(samg_run)
    assert zero.pop(
        small_runs.WEIGHTS
    ).any()  # The buffer stores p before the strength.
    assert not bare.pop(small_runs.WEIGHTS).any()
    small_runs.assert_close_arrays({name: zero[name] for name in bare}, bare)
    critic = "['agent']['critic']['params']['params']['MLP_0']['Dense_1']['kernel']"
    assert not np.allclose(guided[critic], bare[critic], rtol=1e-5, atol=1e-6)
    returns = [
        [row.return_mean for row in small_runs.evaluations(tmp_path / name)]
        for name in cases
    ]
    np.testing.assert_allclose(*returns, rtol=1e-3)


def test_evaluations_and_diagnostics_leave_no_trace(samg_run, dataset, tmp_path):
    changes = {f"{phase}__eval_every": 60 for phase in ("offline", "online")}
    small_runs.run("awac_samg", dataset, tmp_path, **changes, online__log_every=60)
    assert len(small_runs.evaluations(tmp_path)) < len(small_runs.evaluations(samg_run))
    terms = small_runs.training(samg_run, "td_error_unguided")
    assert len(terms) > len(small_runs.training(tmp_path, "td_error_unguided")) > 0
    for phase in ("offline", "online"):
        own, reference = (
            small_runs.saved(tmp_path, phase),
            small_runs.saved(samg_run, phase),
        )
        small_runs.assert_same_arrays(own, reference)
    assert small_runs.scores(tmp_path)[-2:] == small_runs.scores(samg_run)[-2:]


def test_an_action_that_is_no_number_stops_no_other_seed(dataset):
    experiment = small_runs.resolve.experiment(small_runs.config("awac", dataset))
    actions = np.random.default_rng(0).uniform(
        -1, 1, (20, 2, experiment.task.action_size)
    )
    broken = actions.copy()
    broken[5:, 1] = np.nan
    rewards = []
    for played in (actions, broken):
        env = vector.make(experiment.task.env_id, 2, [0, 1], experiment.physics, 1)
        env.reset()
        rewards.append([env.step(action).rewards for action in played])
        env.close()
    rewards = np.array(rewards)
    assert np.isfinite(rewards).all()
    np.testing.assert_array_equal(rewards[0, :, 0], rewards[1, :, 0])
