import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.guidance import guided_target
from tests import reference_guidance

B, N, O, A = 7, 5, 3, 2  # noqa: E741


def q(params, observations, actions):
    """A value per sample, curved in parameters and inputs."""
    return jnp.tanh(observations @ params["o"] + actions @ params["a"]) * params["c"]


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)

    def params():
        return {
            "o": jnp.float32(rng.normal(size=O)),
            "a": jnp.float32(rng.normal(size=A)),
            "c": jnp.float32(rng.normal()),
        }

    observations = jnp.float32(rng.normal(size=(B, O)))
    actions = jnp.float32(rng.uniform(-1, 1, size=(B, A)))
    weights = jnp.float32(rng.uniform(size=B))
    return params(), params(), observations, actions, weights


def bits(x):
    return np.asarray(x).view(np.uint32)


def test_blend_matches_a_plain_loop():
    online, offline = np.random.default_rng(0).normal(size=(2, B)).astype(np.float32)
    weights = np.linspace(0, 1, B, dtype=np.float32)
    actual = jax.jit(guided_target.blend)(online, offline, weights)
    expected = reference_guidance.blend(online, offline, weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_blend_is_exact_at_both_ends_even_if_the_other_side_is_not_finite(wrap):
    values = jnp.float32([0.1, -0.0, 1e38, -3e-38, np.inf, 1 / 3, -7.7])
    other = jnp.float32([np.nan, 2.0, -1e38, np.inf, -np.inf, 1e30, np.nan])
    zeros, ones = jnp.zeros(B), jnp.ones(B)
    blend = wrap(guided_target.blend)
    np.testing.assert_array_equal(bits(blend(values, other, zeros)), bits(values))
    np.testing.assert_array_equal(bits(blend(other, values, ones)), bits(values))


def test_blend_has_a_clean_gradient_where_the_other_side_is_not_finite():
    online = jnp.float32([1.0, np.nan, 2.0])
    offline = jnp.float32([np.inf, 3.0, 4.0])
    weights = jnp.float32([0.0, 1.0, 0.25])
    grads = jax.grad(lambda *x: guided_target.blend(*x, weights).sum(), argnums=(0, 1))
    on_online, on_offline = grads(online, offline)
    np.testing.assert_array_equal(on_online, [1.0, 0.0, 0.75])
    np.testing.assert_array_equal(on_offline, [0.0, 1.0, 0.25])


@pytest.mark.parametrize("shape", [(B, 1), (B + 1,), (1,), ()])
def test_weights_of_another_shape_are_refused(problem, shape):
    params, offline, observations, actions, _ = problem
    weights = jnp.full(shape, 0.5)
    with pytest.raises(AssertionError):
        guided_target.blend(jnp.zeros(B), jnp.ones(B), weights)
    with pytest.raises(AssertionError):
        guided_target.make_guide(offline, weights)(q)(params, observations, actions)


def test_columns_of_values_are_refused(problem):
    params, offline, observations, actions, weights = problem
    guided = guided_target.make_guide(offline, weights)(lambda *x: q(*x)[:, None])
    with pytest.raises(AssertionError):
        guided(params, observations, actions)


def test_a_guided_function_blends_its_values(problem):
    params, offline, observations, actions, weights = problem
    actual = guided_target.make_guide(offline, weights)(q)(
        params, observations, actions
    )
    pair = (q(p, observations, actions) for p in (params, offline))
    np.testing.assert_allclose(
        actual, reference_guidance.blend(*pair, weights), rtol=1e-5, atol=1e-6
    )


def test_gradient_reaches_the_online_parameters_only(problem):
    params, offline, observations, actions, weights = problem

    @jax.jit
    def gradients(params, offline, weights):
        def total(params, offline, weights):
            guided = guided_target.make_guide(offline, weights)(q)
            return jnp.sum(guided(params, observations, actions))

        return jax.grad(total, argnums=(0, 1, 2))(params, offline, weights)

    on_params, on_offline, on_weights = gradients(params, offline, weights)
    assert all(np.all(leaf != 0) for leaf in jax.tree.leaves(on_params))
    for leaf in jax.tree.leaves((on_offline, on_weights)):
        np.testing.assert_array_equal(leaf, 0.0)
    unweighted, _, _ = gradients(params, offline, jnp.zeros(B))
    plain = jax.grad(lambda p: q(p, observations, actions).sum())(params)
    chex.assert_trees_all_close(unweighted, plain, rtol=1e-6)
    weighted, _, _ = gradients(params, offline, jnp.ones(B))
    chex.assert_trees_all_equal(weighted, jax.tree.map(jnp.zeros_like, params))


def test_a_guided_function_maps_over_sampled_actions(problem):
    params, offline, observations, _, weights = problem
    rng = np.random.default_rng(1)
    sampled = jnp.float32(rng.uniform(-1, 1, size=(B, N, A)))

    @jax.jit
    def best(params, offline, weights):
        guided = guided_target.make_guide(offline, weights)(q)
        values = jax.vmap(guided, in_axes=(None, None, 1))(
            params, observations, sampled
        )
        return values.max(axis=0)

    expected = [
        reference_guidance.blend(
            q(params, observations, sampled[:, i]),
            q(offline, observations, sampled[:, i]),
            weights,
        )
        for i in range(N)
    ]
    actual = best(params, offline, weights)
    np.testing.assert_allclose(actual, np.max(expected, axis=0), rtol=1e-5, atol=1e-6)
    seeds = jax.vmap(best)(
        *jax.tree.map(lambda x: jnp.stack([x, x]), (params, offline, weights))
    )
    np.testing.assert_allclose(seeds, [actual, actual], rtol=1e-6, atol=1e-7)
