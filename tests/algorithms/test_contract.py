"""What guidance must and must not change, for every algorithm.

A new algorithm joins by a line in `CASES`. Each case compiles its update twice, plain
and guided, with the values that the target bootstraps from beside it.
"""

import dataclasses
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax import algorithms, distributions, losses
from samg_jax.algorithms import awac, cql, iql, td3_bc
from samg_jax.guidance import guided_target
from tests import reference_guidance
from tests.fixtures import toy_problems

B, O, A, N = 7, 5, 3, 4  # noqa: E741

SMALL = cql.Config(
    actor_hidden_dims=(16, 12),
    critic_hidden_dims=(12, 10),
    num_samples=N,
    actor_learning_rate=3e-4,
    cql_weight=2.0,
)
MAXIMUM = {"max_target_backup": True}
ONLINE_PENALTY = {"guided_penalty": False}
LAGRANGE = {"lagrange_gap": 0.8, "gap_clip_min": -200.0, "calibrated": True}


def small_cql(**changes):
    return cql.make(dataclasses.replace(SMALL, **changes), A)


def small_iql(**changes):
    return iql.make(iql.Config(hidden_dims=(16, 12), **changes), A)


CASES = {
    "awac": awac.make(awac.Config(hidden_dims=(16, 12)), A),
    "iql": small_iql(),
    "iql_deterministic": small_iql(deterministic=True),
    "td3_bc": td3_bc.make(td3_bc.Config(hidden_dims=(16, 12)), A),
    "cql": small_cql(),
    "cql_online_penalty": small_cql(**ONLINE_PENALTY, backup_entropy=True),
    "cql_max": small_cql(**MAXIMUM, **LAGRANGE),
    "cql_max_online_penalty": small_cql(**MAXIMUM, **ONLINE_PENALTY, **LAGRANGE),
}
MAXIMIZING = [name for name in CASES if "_max" in name]
SINGLE_ACTION = [name for name in CASES if "_max" not in name]
# Guidance acts on the Bellman target alone, as on AWAC.
TARGET_ONLY = [
    "awac",
    "iql",
    "iql_deterministic",
    "td3_bc",
    "cql_online_penalty",
    "cql_max_online_penalty",
]


class Case:
    """An algorithm in mid-training, its frozen values, and its compiled updates."""

    def __init__(self, algorithm):
        rng = np.random.default_rng(0)
        self.algorithm = algorithm
        self.traces = 0
        self.batch = toy_problems.random_batch(rng, B, O, A)
        self.key = jax.random.key(3)
        self._plain = jax.jit(self._run_plain)
        self._guided = jax.jit(self._run_guided, donate_argnums=0)

        shapes = jax.tree.map(jnp.asarray, toy_problems.zero_state(algorithm, O))
        state = toy_problems.perturb_networks(rng, shapes)
        for i in range(3):  # Adam's moments are no longer empty.
            batch = toy_problems.random_batch(rng, B, O, A)
            _, state, _ = self.plain(state, batch, jax.random.key(i))
        self.state = state
        self.offline = toy_problems.perturb(rng, algorithm.value_params(state))

    def _run_plain(self, state, batch, key):
        values = self.algorithm.next_values(state, batch, key)
        return values, *self.algorithm.update(state, batch, key)

    def _run_guided(self, state, batch, key, offline, weights):
        self.traces += 1
        guide = guided_target.make_guide(offline, weights)
        values = self.algorithm.next_values(state, batch, key, guide)
        return values, *self.algorithm.update(state, batch, key, guide)

    def plain(self, state=None, batch=None, key=None):
        """Returns next values, new state and metrics without guidance."""
        state, batch = state or self.state, batch or self.batch
        return self._plain(state, batch, self.key if key is None else key)

    def guided(self, weights, state=None, batch=None, offline=None):
        """Returns the same with guidance; the state it gets is a copy, and donated."""
        state = jax.tree.map(jnp.copy, state or self.state)
        offline = self.offline if offline is None else offline
        weights = jnp.asarray(np.broadcast_to(np.float32(weights), B))
        return self._guided(state, batch or self.batch, self.key, offline, weights)

    def with_value_params(self, params):
        if hasattr(self.state, "value"):
            value = self.state.value.replace(params=params)
            return self.state.replace(value=value)
        return self.state.replace(target_critic=params)


@pytest.fixture(scope="module")
def cases():
    """Returns a function name -> Case that makes each case once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = Case(CASES[name])
        return made[name]

    return get


def assert_close(actual, expected, tolerance=1e-5):
    chex.assert_trees_all_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=CASES)
def case(request, cases):
    return cases(request.param)


def test_weights_of_zero_change_nothing(case):
    values, state, metrics = case.guided(0.0)
    plain_values, plain_state, plain_metrics = case.plain()
    assert_close(values, plain_values, 1e-6)
    assert_close(state, plain_state, 1e-6)
    assert_close(metrics, plain_metrics, 1e-5)


def test_weights_of_zero_shield_from_a_frozen_model_that_is_not_finite(case):
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), case.offline)
    values, state, _ = case.guided(0.0, offline=broken)
    plain_values, plain_state, _ = case.plain()
    assert_close(values, plain_values, 1e-6)
    assert_close(state, plain_state, 1e-6)


def test_weights_of_one_read_the_frozen_values_alone(case):
    values, *_ = case.guided(1.0)
    offline_values, *_ = case.plain(case.with_value_params(case.offline))
    assert_close(values, offline_values, 1e-6)
    for wrong in (jnp.nan, 1e3):
        scrambled = jax.tree.map(
            lambda leaf, wrong=wrong: jnp.full_like(leaf, wrong), case.offline
        )
        again, *_ = case.guided(1.0, case.with_value_params(scrambled))
        np.testing.assert_array_equal(again, values)  # The same program.


def test_the_guide_changes_targets_where_the_weight_is_positive(case):
    weights = np.where(np.arange(B) % 2, 0.6, 0.0)
    values, *_ = case.guided(weights)
    plain, *_ = case.plain()
    changed = ~np.isclose(values, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(changed, np.arange(B) % 2 == 1)


@pytest.mark.parametrize("name", SINGLE_ACTION)
def test_the_three_readings_of_the_target_agree(cases, name):
    case, p, discount = cases(name), cases(name).batch.weights, 0.99
    batch = case.batch
    guided, *_ = case.guided(p)
    online, *_ = case.plain()
    offline, *_ = case.plain(case.with_value_params(case.offline))
    actual = losses.td_targets(batch.rewards, batch.masks, guided, discount)

    p, r, m, online, offline = (
        np.float64(x) for x in (p, batch.rewards, batch.masks, online, offline)
    )
    mixed = r + discount * m * np.float64(reference_guidance.blend(online, offline, p))
    intrinsic = discount * m * p * (offline - online)
    rewarded = (r + intrinsic) + discount * m * online
    backups = r + discount * m * online, r + discount * m * offline
    weighted = (1 - p) * backups[0] + p * backups[1]
    for reading in (mixed, rewarded, weighted):
        np.testing.assert_allclose(actual, reading, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SINGLE_ACTION)
def test_the_target_is_affine_in_the_weight(cases, name):
    ends = [cases(name).guided(p)[0] for p in (0.0, 1.0)]
    for p in (0.25, 0.5, 0.9):
        actual, *_ = cases(name).guided(p)
        expected = (1 - p) * ends[0] + p * ends[1]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAXIMIZING)
def test_the_maximum_is_taken_over_blended_actions(cases, name):
    case = cases(name)
    algorithm, batch, state = case.algorithm, case.batch, case.state

    @jax.jit
    def values_of_samples(state, offline):
        mean, log_std = algorithm.actor.apply(
            state.actor.params, batch.next_observations
        )
        key = cql.Keys(*jax.random.split(case.key, 3)).target
        actions, _ = distributions.sample_tanh_gaussian(key, mean, log_std, N)
        return [
            jnp.stack([algorithm.q(p, batch.next_observations, a) for a in actions])
            for p in (state.target_critic, offline)
        ]

    online, offline = values_of_samples(state, case.offline)
    p = np.float64(batch.weights)
    blended = [
        reference_guidance.blend(a, b, p) for a, b in zip(online, offline, strict=True)
    ]
    actual, *_ = case.guided(batch.weights)
    expected = np.max(blended, axis=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    # Blending two maxima is another number: this test can tell the two apart.
    swapped = reference_guidance.blend(online.max(axis=0), offline.max(axis=0), p)
    assert np.any(np.abs(swapped - expected) > 1e-3)


@pytest.mark.parametrize("name", TARGET_ONLY)
def test_a_guided_update_is_a_plain_one_on_shaped_rewards(cases, name):
    case = cases(name)
    batch, discount = case.batch, case.algorithm.config.discount
    guided_values, state, metrics = case.guided(batch.weights)
    values, *_ = case.plain()
    if name in SINGLE_ACTION:
        offline_values, *_ = case.plain(case.with_value_params(case.offline))
        gain = batch.weights * (offline_values - values)
    else:  # The maximum may pick another action, the gain is the difference in all.
        gain = guided_values - values
    shaped = batch.replace(rewards=batch.rewards + discount * batch.masks * gain)
    _, expected_state, expected_metrics = case.plain(batch=shaped)
    assert_close(state, expected_state, 1e-5)
    assert_close(metrics, expected_metrics, 1e-4)
    _, unshaped_state, _ = case.plain()
    with pytest.raises(AssertionError):
        assert_close(state, unshaped_state, 1e-5)


def test_terminal_transitions_are_worth_their_reward(case):
    batch = case.batch.replace(masks=jnp.float32([0] * B))
    guided_values, _, metrics = case.guided(0.7, batch=batch)
    targets = losses.td_targets(batch.rewards, batch.masks, guided_values, 0.99)
    np.testing.assert_array_equal(targets, batch.rewards)
    np.testing.assert_allclose(metrics["target"], batch.rewards.mean(), rtol=1e-6)


def test_frozen_parameters_survive_updates_of_donated_states(case):
    offline = jax.tree.map(jnp.copy, case.algorithm.value_params(case.state))
    before = jax.tree.map(np.array, offline)
    state = jax.tree.map(jnp.copy, case.state)
    for step in range(3):
        donated = state
        weights = jnp.float32([0.2 * step] * B)
        _, state, _ = case._guided(donated, case.batch, case.key, offline, weights)
    chex.assert_trees_all_equal(jax.tree.map(np.array, offline), before)
    moved = jax.tree.map(
        lambda a, b: np.any(a != b), before, case.algorithm.value_params(state)
    )
    assert any(jax.tree.leaves(moved))


def test_no_gradient_reaches_the_weights_or_the_frozen_parameters(case):
    @jax.jit
    def gradients(weights, offline):
        def total(weights, offline):
            values, state, metrics = case._run_guided(
                case.state, case.batch, case.key, offline, weights
            )
            leaves = jax.tree.leaves((state, metrics))
            return values.sum() + sum(leaf.astype(jnp.float32).sum() for leaf in leaves)

        return jax.grad(total, argnums=(0, 1))(weights, offline)

    traces = case.traces
    for grad in jax.tree.leaves(gradients(case.batch.weights, case.offline)):
        np.testing.assert_array_equal(grad, 0.0)
    case.traces = traces


def test_many_steps_are_one_trace(case):
    rng = np.random.default_rng(1)
    state = case.state
    for _ in range(4):
        batch = toy_problems.random_batch(rng, B, O, A)
        _, state, _ = case.guided(batch.weights, state, batch)
    assert case.traces == 1


@pytest.mark.parametrize("shape", [(B, 1), (B + 1,), (1,), ()])
def test_weights_of_another_shape_are_refused(case, shape):
    traces = case.traces
    with pytest.raises(AssertionError):
        jax.eval_shape(
            case._run_guided,
            case.state,
            case.batch,
            case.key,
            case.offline,
            jax.ShapeDtypeStruct(shape, jnp.float32),
        )
    case.traces = traces


def test_a_state_keeps_its_tree_shapes_and_types(case):
    _, after, _ = case.plain()
    chex.assert_trees_all_equal_shapes_and_dtypes(case.state, after)
    assert after.step == case.state.step + 1


def test_actions_have_the_shape_of_the_action_space(case):
    algorithm, observations = case.algorithm, case.batch.observations
    explored = jax.jit(algorithm.explore)(case.state, observations, case.key)
    acted = jax.jit(algorithm.act)(case.state, observations)
    assert explored.shape == acted.shape == (B, A)
    assert np.abs(explored).max() <= 1.0
    other = jax.jit(algorithm.explore)(case.state, observations, jax.random.key(9))
    assert np.any(explored != other)


def test_the_errors_of_q_are_those_that_the_loss_squares(case):
    values, _, metrics = case.plain()
    batch = case.batch
    q = np.float64(jax.jit(case.algorithm.q_values)(case.state, batch))
    assert q.shape == (2, B)
    r, m, v = (np.float64(x) for x in (batch.rewards, batch.masks, values))
    errors = r + 0.99 * m * v - q
    name = "td_loss" if "td_loss" in metrics else "critic_loss"
    ensemble = np.mean if isinstance(case.algorithm, iql.IQL) else np.sum
    expected = ensemble(np.mean(errors**2, axis=1))
    np.testing.assert_allclose(metrics[name], expected, rtol=1e-5)


def test_values_of_a_batch_are_those_that_targets_bootstrap_from(case):
    fn, batch = jax.jit(case.algorithm.values), case.batch
    if isinstance(case.algorithm, iql.IQL):
        there = batch.replace(observations=batch.next_observations)
        actual = fn(case.algorithm.value_params(case.state), there)
        np.testing.assert_allclose(actual, case.plain()[0], rtol=1e-6)
        return
    actual = fn(case.algorithm.online_value_params(case.state), batch)
    q = jax.jit(case.algorithm.q_values)(case.state, batch)
    np.testing.assert_allclose(actual, np.min(q, axis=0), rtol=1e-6)
    assert not np.allclose(actual, fn(case.offline, batch))


def test_no_algorithm_imports_another():
    folder = pathlib.Path(algorithms.__file__).parent
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert {path.stem for path in files} == set(algorithms.MODULES) - {"cal_ql"}
    for path in files:
        assert "samg_jax.algorithms" not in path.read_text()
