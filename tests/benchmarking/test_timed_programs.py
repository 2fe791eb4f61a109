"""What the benchmark times is the trainer's, and its programs are compiled once."""

import contextlib
import itertools
import pathlib

import jax
import numpy as np
import pytest

from samg_jax.algorithms import cql
from samg_jax.benchmarking import (
    benchmark_cases,
    case_worker,
    synthetic_data,
    timed_programs,
)
from samg_jax.training import offline_phase
from tests.fixtures import small_experiments

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
ROWS = 1_500


def tiny(algorithm, phase="offline", **fields):
    """Returns a case with a tiny network."""
    settings = dict(small_experiments.NETWORKS[algorithm])
    if phase == "samg":
        settings |= {k: v for k, v in small_experiments.GUIDED.items() if "cvae" in k}
    fields = {"seeds": 2, "batch_size": 16, "rows": ROWS, **fields}
    return benchmark_cases.Case(algorithm, phase, settings=settings, **fields)


def prepare(case, folder):
    """Returns the experiment, the data and the prepared program of a case."""
    task = benchmark_cases.experiment(case, CONFIGS).task
    path = synthetic_data.file(folder, task, case.rows)
    experiment = benchmark_cases.experiment(case, CONFIGS, path)
    data = timed_programs.load(experiment)
    return experiment, data, timed_programs.prepare(case, experiment, data)


@contextlib.contextmanager
def compilations():
    """Yields a list that grows by every program that is compiled or traced."""
    found = []

    def listen(event, *_, **__):
        if event.endswith(("backend_compile_duration", "jaxpr_trace_duration")):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_the_program_is_the_trainers_own(tmp_path):
    experiment, data, prepared = prepare(tiny("iql"), tmp_path)
    state = offline_phase.init(experiment, data.preprocessing)
    updates = offline_phase.make_updates(experiment, 16)
    for start in (0, 5):
        state, _ = updates(state, data.dataset, start, length=5)
    program = timed_programs.Program(prepared, 5)
    program.call()
    program.call()
    jax.tree.map(np.testing.assert_array_equal, program.state, state)


@pytest.mark.parametrize(
    ("algorithm", "phase"),
    [("td3_bc", "offline"), ("spot", "offline"), ("iql", "vanilla"), ("awac", "samg")],
)
def test_programs_advance_all_seeds_by_the_chunk(algorithm, phase, tmp_path):
    experiment, _, prepared = prepare(
        tiny(algorithm, phase, family="antmaze"), tmp_path
    )
    start = getattr(experiment.algorithm.config, "vae_steps", 0)
    program = timed_programs.Program(prepared, 3)
    assert int(program.state.agent.step) == start
    before = jax.device_get(program.state.agent.critic.params)
    program.call()
    assert program.rate(0.0) > 0
    assert int(program.state.agent.step) == start + 6
    assert np.asarray(program.state.alive).tolist() == [True, True]
    after = jax.device_get(program.state.agent.critic.params)
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), before, after))
    assert any(moved)


def test_no_chunk_of_updates_is_traced_or_compiled_again(tmp_path):
    experiment, data, _ = prepare(tiny("td3_bc"), tmp_path)
    state = offline_phase.init(experiment, data.preprocessing)
    updates = offline_phase.make_updates(experiment, 16)
    with compilations() as found:
        # As the loop of training calls it: the counters are Python numbers.
        state, _ = updates(state, data.dataset, 0, length=10)
        assert found
        found.clear()
        for start in range(10, 50, 10):
            state, _ = updates(state, data.dataset, start, length=10)
    assert not found


WIDTH = 256  # Of every layer; half-cheetah has 17 observations and 6 actions.


def forward(rows, inputs, depth, outputs):
    """Returns the operations of the products of a network's layers, one by one."""
    sizes = [inputs, *[WIDTH] * depth, outputs]
    return [2 * rows * a * b for a, b in itertools.pairwise(sizes)]


def learning(layers):
    """Returns those of a loss: forward, and backward, but not to the inputs."""
    return 3 * sum(layers) - layers[0]


def awac_products(rows):
    q, policy = forward(rows, 23, 3, 1), forward(rows, 17, 3, 6)
    # Both critics: targets, their loss, and then, with what they have learned, the
    # data's actions and the policy's. The policy at s serves its loss and its actions.
    critics = 2 * (3 * sum(q) + learning(q))
    return critics + sum(policy) + learning(policy)


def iql_products(rows):
    q, value = forward(rows, 23, 2, 1), forward(rows, 17, 2, 1)
    policy = forward(rows, 17, 2, 6)
    # V at s' for the targets; V at s serves its loss and the policy's advantages.
    critics = 2 * (sum(q) + learning(q))
    return critics + sum(value) + learning(value) + learning(policy)


def bc_products(rows):
    return learning(forward(rows, 17, 2, 6))


@pytest.mark.parametrize(
    ("algorithm", "products"),
    [("awac", awac_products), ("iql", iql_products), ("bc", bc_products)],
)
def test_flops_are_those_of_the_products_and_none_is_taken_twice(
    algorithm, products, tmp_path
):
    case = benchmark_cases.Case(algorithm, seeds=2, batch_size=256, rows=ROWS)
    _, _, prepared = prepare(case, tmp_path)
    expected = 2 * products(256)
    # Beside products: activations, Adam, targets. The cheapest pass that could be
    # taken twice, of IQL's V, has 6 % of its operations.
    assert expected < timed_programs.flops(prepared) < 1.05 * expected


def test_flops_of_a_delayed_policy_count_one_update_in_two(tmp_path):
    case = benchmark_cases.Case("td3_bc", seeds=1, batch_size=256, rows=ROWS)
    _, _, prepared = prepare(case, tmp_path)
    q, policy = forward(256, 23, 2, 1), forward(256, 17, 2, 6)
    every = 2 * (sum(q) + learning(q)) + sum(policy)
    # The policy's loss goes through the critic to the actions.
    delayed = learning(policy) + 2 * sum(q)
    expected = every + delayed / 2
    assert expected < timed_programs.flops(prepared) < 1.05 * expected


def test_flops_of_a_guided_update_have_the_frozen_critics(tmp_path):
    found = {}
    for phase in ("no_data", "samg"):
        case = benchmark_cases.Case("awac", phase, seeds=2, batch_size=256, rows=ROWS)
        _, _, prepared = prepare(case, tmp_path)
        found[phase] = timed_programs.flops(prepared)
    frozen = 2 * 2 * sum(forward(256, 23, 3, 1))  # Both critics, of both seeds.
    added = found["samg"] - found["no_data"]
    assert frozen < added < 1.05 * frozen


@pytest.mark.parametrize("calls", [1, cql.KINDS])
def test_matrices_are_those_of_a_hidden_layer(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(cql, "proposal_calls", lambda: calls)
    found = {}
    for algorithm in ("bc", "awac", "cql"):
        case = benchmark_cases.Case(algorithm, seeds=3, batch_size=16, rows=ROWS)
        _, _, prepared = prepare(case, tmp_path)
        found[algorithm] = timed_programs.matrices(prepared)
    assert found["bc"] == (3, 16, 256)
    assert found["awac"] == (6, 16, 256)
    # Ten actions of each of three kinds for every state.
    assert found["cql"] == (6, 16 * 30 // calls, 256)


def test_a_call_of_updates_works_in_place(tmp_path):
    _, _, prepared = prepare(tiny("awac"), tmp_path)
    before = jax.tree.leaves(prepared.state.agent)
    program = timed_programs.Program(prepared, 10)
    program.call()
    assert all(leaf.is_deleted() for leaf in before)
    own = sum(leaf.nbytes for leaf in jax.tree.leaves(program.state.agent))
    assert program.compiled.memory_analysis().alias_size_in_bytes >= own


def test_the_dataset_is_there_once_whatever_the_seeds(tmp_path):
    found = []
    for seeds in (1, 4):
        _, data, prepared = prepare(tiny("bc", seeds=seeds), tmp_path)
        program = timed_programs.Program(prepared, 1)
        program.call()
        found.append(case_worker.memory(program, data, before=0.0))
    one, four = found
    # Observations twice, actions, reward, mask and return of every row.
    columns = 4 * (2 * 17 + 6 + 3) * len(data.dataset.rewards) / 1e6
    assert one["dataset_mb"] == four["dataset_mb"] == pytest.approx(columns, rel=1e-3)
    assert four["state_mb"] == pytest.approx(4 * one["state_mb"], rel=0.1)
    # What a call holds of the data is their one copy.
    assert four["program_mb"] - one["program_mb"] < columns


def test_chunks_last_as_long_as_asked_and_are_as_the_trainers():
    # Whole tens, after which the trainer looks for failed seeds, and one at least.
    wanted = {1e2: 10, 1.5e5: 10, 2.5e5: 20, 1e6: 100, 1e9: 1_000}
    assert {rate: timed_programs.chunk_of(1e4, rate, 1.0) for rate in wanted} == wanted
