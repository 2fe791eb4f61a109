"""Environments beside the updates: what acts, in what order, and again and again."""

import functools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.envs import vector
from samg_jax.runs import evaluation, stepping
from samg_jax.training import online_phase, seed_axis
from samg_jax.types import Batch
from tests.fixtures import small_runs

STEPS = 60


@pytest.fixture(scope="module")
def fork(samg_run):
    """Changes that fine-tune the SAMG run's offline checkpoint with overlap."""
    return {"offline__restore": str(samg_run), "online__overlap": True}


@pytest.fixture(scope="module")
def overlapped(fork, dataset, tmp_path_factory):
    """A run with overlap that never stopped."""
    workdir = tmp_path_factory.mktemp("overlap") / "run"
    return small_runs.run("awac_samg", dataset, workdir, **fork)


def played_by_hand(experiment, pretrained, behind):
    """Returns the actions and the agent of a loop without JAX's transformations.

    One seed, one update per step, online data alone. With `behind` the next action is
    the policy's before the update, else the one's after it.
    """
    agent, normalize = seed_axis.select(pretrained.agent, 0), pretrained.preprocessing
    stream = functools.partial(seed_axis.stream, jnp.uint32(experiment.seeds[0]))
    explore, update = (
        jax.jit(experiment.online.explore),
        jax.jit(experiment.online.update),
    )

    def act(agent, observation, step):
        rows = normalize.normalizer(observation[None])
        return np.asarray(explore(agent, rows, stream("explore", step)))

    env_seeds = seed_axis.host_seeds(experiment.seeds, "training")
    env = vector.make(experiment.task.env_id, 1, env_seeds, experiment.physics, 1)
    observation, rows, actions = env.reset()[0], [], []
    action = act(agent, observation, 0)
    for step in range(STEPS):
        outcome = env.step(action)
        actions.append(action[0].clip(-1, 1))
        end = outcome.terminals[0] and not outcome.timeouts[0]
        following = outcome.next_observations[0]
        rows.append((observation, actions[-1], outcome.rewards[0], following, not end))
        observation = outcome.observations[0]

        batch_key, update_key = jax.random.split(stream("online", step + 1, 0))
        chosen = np.asarray(jax.random.randint(batch_key, (16,), 0, step + 1))
        fields = [np.float32([rows[i][place] for i in chosen]) for place in range(5)]
        batch = normalize(Batch(*fields, np.zeros(16, "f4"), np.zeros(16, "f4")))
        before, (agent, _) = agent, update(agent, batch, update_key)
        action = act(before if behind else agent, observation, step + 1)
    env.close()
    return np.stack(actions), agent


@pytest.mark.parametrize("overlap", [False, True])
def test_the_order_is_that_of_a_plain_loop(overlap, samg_run, dataset, tmp_path):
    changes = {
        "num_seeds": 1,
        "offline__restore": str(samg_run),
        "online__overlap": overlap,
        "online__warmup_steps": 0,
        "guidance__weight": "none",
        # Large steps, so that the policy before an update is another one's after it.
        "agent__learning_rate": 0.01,
    }
    settings = small_runs.config("awac_samg", dataset, **changes)
    both = small_runs.config("awac_samg", dataset)
    _, pretrained = small_runs.offline_state(both, samg_run / "offline")
    experiment = small_runs.resolve.experiment(settings)
    small_runs.run("awac_samg", dataset, tmp_path, **changes)
    saved = small_runs.online_state(settings, tmp_path)[1]
    actions, agent = played_by_hand(experiment, pretrained, behind=overlap)
    found = np.asarray(saved.buffer.actions[0, :STEPS])
    # Rounding grows with the steps, the more so where the feet touch the ground.
    np.testing.assert_allclose(found[:20], actions[:20], atol=1e-3)
    for own, other in zip(
        jax.tree.leaves(saved.agent.critic.params),
        jax.tree.leaves(agent.critic.params),
        strict=True,
    ):
        assert np.abs(own[0] - other).max() <= 1e-2 * max(np.abs(other).max(), 1e-3)
    wrong, _ = played_by_hand(experiment, pretrained, behind=not overlap)
    assert np.abs(found[:20] - wrong[:20]).max() > 0.02
    # Both orders draw the first two actions before anything was learned from.
    assert np.abs(actions[0] - wrong[0]).max() < 1e-5


def recorded(monkeypatch):
    """Returns what fine-tuning compiles, by name, and the threads of its steps."""
    record = {"programs": {}, "threads": set()}
    make, make_both = online_phase.make_step, stepping.make_programs
    step = vector.VectorEnv.step

    def one(*args):
        record["programs"]["step"] = make(*args)
        return record["programs"]["step"]

    def two(*args):
        act, learn = make_both(*args)
        record["programs"].update(act=act, learn=learn)
        return act, learn

    def observed(self, actions, active=None):
        if active is None:  # Evaluation says which episodes are not over.
            record["threads"].add(threading.current_thread().name.split("_")[0])
        return step(self, actions, active)

    monkeypatch.setattr(online_phase, "make_step", one)
    monkeypatch.setattr(stepping, "make_programs", two)
    monkeypatch.setattr(vector.VectorEnv, "step", observed)
    return record


def stopped_and_continued(dataset, workdir, changes, monkeypatch):
    """Runs a fork in two halves; returns what `recorded` says of both."""
    halves = []
    with monkeypatch.context() as patch:
        record = recorded(patch)
        with patch.context() as inner:
            small_runs.stop_at(inner, "online", 47)
            with pytest.raises(small_runs.Stopped):
                small_runs.run("awac_samg", dataset, workdir, **changes)
        halves.append(dict(record["programs"]))
        small_runs.run("awac_samg", dataset, workdir, **changes)
    return [*halves, record["programs"]], record["threads"]


def test_it_resumes_bit_for_bit_and_compiles_no_program_twice(
    overlapped, fork, samg_run, dataset, tmp_path, monkeypatch
):
    halves, threads = stopped_and_continued(dataset, tmp_path, fork, monkeypatch)
    assert small_runs.tables(tmp_path) == small_runs.tables(overlapped)
    found = small_runs.saved(overlapped)
    small_runs.assert_same_arrays(small_runs.saved(tmp_path), found)
    for programs in halves:
        assert set(programs) == {"act", "learn"}
        assert {program._cache_size() for program in programs.values()} == {1}
    assert threads == {"environments"}
    strict = small_runs.saved(samg_run)["['buffer']['actions']"]
    found = found["['buffer']['actions']"]
    # The same draws by the same policy, until it has learned something.
    np.testing.assert_array_equal(found[:, :26], strict[:, :26])
    assert np.abs(found - strict).max() > 1e-5


def test_no_program_of_the_strict_loop_is_compiled_twice(
    fork, dataset, tmp_path, monkeypatch
):
    changes = {**fork, "online__overlap": False, "online__updates_per_step": 2}
    halves, threads = stopped_and_continued(dataset, tmp_path, changes, monkeypatch)
    for programs in halves:
        assert set(programs) == {"step"}
        assert programs["step"]._cache_size() == 1
    assert threads == {"MainThread"}


def test_nothing_depends_on_when_it_is_logged_evaluated_or_saved(
    overlapped, fork, dataset, tmp_path
):
    periods = {"online__eval_every": 60, "online__checkpoint_every": 60}
    small_runs.run(
        "awac_samg", dataset, tmp_path, **fork, **periods, online__log_every=60
    )
    own, expected = (small_runs.saved(folder) for folder in (tmp_path, overlapped))
    for name in set(own) - {"host episode_sums", "host episode_counts"}:
        np.testing.assert_array_equal(own[name], expected[name], name)
    assert small_runs.scores(tmp_path)[-2:] == small_runs.scores(overlapped)[-2:]


def test_its_scores_are_those_of_the_policy_that_is_saved(overlapped, dataset):
    settings = small_runs.config("awac_samg", dataset)
    experiment, state = small_runs.online_state(settings, overlapped)
    evaluate = evaluation.make_evaluator(experiment, 2, 1)
    scores = evaluate(state.agent, state.preprocessing)
    last = small_runs.evaluations(overlapped)[-2:]
    for seed in range(2):
        assert last[seed].return_mean == pytest.approx(scores.returns[seed].mean())


def test_a_failure_of_the_simulator_ends_the_run(fork, dataset, tmp_path, monkeypatch):
    step, calls = vector.VectorEnv.step, []

    def broken(self, actions, active=None):
        calls.append(active is None)
        if sum(calls) == 30:
            raise FloatingPointError("The simulator diverged.")
        return step(self, actions, active)

    monkeypatch.setattr(vector.VectorEnv, "step", broken)
    with pytest.raises(FloatingPointError, match="diverged"):
        small_runs.run("awac_samg", dataset, tmp_path, **fork)
    names = {thread.name.split("_")[0] for thread in threading.enumerate()}
    assert "environments" not in names


def test_state_and_buffer_are_updated_in_place(samg_run, dataset):
    settings = small_runs.config("awac_samg", dataset, online__buffer_size=50_000)
    settings.online.steps = 50_000
    experiment, pretrained = small_runs.offline_state(settings, samg_run / "offline")
    first = np.zeros((2, experiment.task.observation_size), np.float32)
    state = online_phase.init(experiment, settings.online, pretrained, first)
    act, learn = stepping.make_programs(experiment, settings.online)
    env_step = online_phase.EnvStep(first[:, 0], first, first[:, 0], first)
    arguments = state, env_step, state.actions + 0, None, 1
    needs = learn.lower(*arguments).compile().memory_analysis()
    buffer_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state.buffer))
    assert needs.alias_size_in_bytes >= buffer_bytes
    assert needs.temp_size_in_bytes < buffer_bytes / 4
    for _ in range(3):
        before, place = state, state.buffer.observations.unsafe_buffer_pointer()
        state = learn(state, env_step, act(state, first), None, 1)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.agent))
        assert state.buffer.observations.unsafe_buffer_pointer() == place


@pytest.mark.parametrize("slow", ["environment", "update"])
def test_the_clock_tells_what_holds_an_overlapped_loop_up(
    slow, fork, dataset, tmp_path, monkeypatch
):
    step, updates = vector.VectorEnv.step, 1
    if slow == "environment":

        def late(self, actions, active=None):
            if active is None:
                time.sleep(0.03)
            return step(self, actions, active)

        monkeypatch.setattr(vector.VectorEnv, "step", late)
    else:
        updates = 100
    settings = small_runs.config(
        "awac_samg", dataset, **fork, online__updates_per_step=updates
    )
    lap = small_runs.lifecycle.run(settings, tmp_path).clock.laps[-1]
    other = {"environment": "update", "update": "environment"}[slow]
    assert lap.parts[slow] > 3 * lap.parts[other]
