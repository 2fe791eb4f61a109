import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from samg_jax import optimization
from tests import reference


def loss(params, inputs, shift):
    """Each parameter has a gradient of its own: the input less the shift."""
    gradients = {"a": inputs[:3] - shift, "b": inputs[3:] - shift}
    total = sum(jnp.sum(params[name] * gradients[name]) for name in params)
    return total, {"total": total}


def test_gradient_steps_are_adam_by_hand():
    optimizer = optimization.adam(3e-4)
    rng = np.random.default_rng(0)
    start = {"a": jnp.float32(rng.normal(size=3)), "b": jnp.float32(rng.normal(size=2))}
    inputs = np.float32(rng.normal(size=(6, 5)) * [1e3, 1.0, 1e-3, 1e-7, 0.0])
    model = optimization.create(start, optimizer)

    @jax.jit
    def step(model, inputs):
        return optimization.gradient_step(loss, model, optimizer, inputs, 0.0)

    for row in inputs:
        before = model.params
        model, metrics = step(model, row)
    flat = np.concatenate([before["a"], before["b"]])
    np.testing.assert_allclose(metrics["total"], flat @ inputs[-1], rtol=1e-5)
    moved = [reference.adam(column, 3e-4) for column in np.float64(inputs).T]
    expected = np.concatenate([start["a"], start["b"]]) + moved
    actual = np.concatenate([model.params["a"], model.params["b"]])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-7)
    assert actual[-1] == start["b"][-1]


def test_adam_on_one_vector_is_adam_on_every_leaf():
    rng = np.random.default_rng(1)
    params = {"a": rng.normal(size=(7, 5)), "b": {"c": rng.normal(size=3), "d": 0.5}}
    params = jax.tree.map(jnp.float32, params)
    own, other = optimization.adam(1e-3), optax.adam(1e-3)
    states = own.init(params), other.init(params)
    for _ in range(5):
        draw = lambda x: jnp.float32(rng.normal(size=x.shape))  # noqa: E731
        grads = jax.tree.map(draw, params)
        (updates, flat), (expected, tree) = (
            jax.jit(one.update)(grads, state)
            for one, state in zip((own, other), states, strict=True)
        )
        chex.assert_trees_all_close(updates, expected, rtol=1e-6)
        states = flat, tree
    assert states[0][0].mu.shape == (39,)


def test_soft_update_moves_the_target_by_the_share_tau():
    params, target = jnp.float32(np.random.default_rng(0).normal(size=(2, 5)))
    actual = optimization.soft_update({"a": params}, {"a": target}, 0.1)
    expected = reference.soft_update(params, target, 0.1)
    np.testing.assert_allclose(actual["a"], expected, rtol=1e-6)
    for tau, end in [(0.0, target), (1.0, params)]:
        moved = optimization.soft_update(params, target, tau)
        np.testing.assert_array_equal(moved, end)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 3e-4),
        (500_000, 1.5e-4),
        (1_050_000, 1.847e-6),
        (1_100_000, 7.342e-6),
        (1_200_000, 2.865e-5),
        (1_250_000, 4.393e-5),
        (1_300_000, 6.183e-5),
        (1_500_000, 1.5e-4),
        (1_750_000, 2.561e-4),
        (2_000_000, 3e-4),
    ],
)
def test_the_periodic_cosine_passes_through_corls_rates(step, expected):
    schedule = jax.jit(optimization.periodic_cosine(3e-4, 1_000_000))
    np.testing.assert_allclose(schedule(jnp.int32(step)), expected, rtol=2e-4)
    exact = reference.periodic_cosine(3e-4, 1_000_000, step)
    np.testing.assert_allclose(schedule(jnp.int32(step)), exact, rtol=1e-5)


def test_the_periodic_cosine_is_zero_at_the_switch_and_not_negative_around_it():
    schedule = jax.jit(optimization.periodic_cosine(3e-4, 1_000_000))
    assert schedule(jnp.int32(1_000_000)) < 1e-15
    around = schedule(jnp.arange(999_990, 1_000_010))
    assert np.all(around >= 0)
    assert np.all(around < 1e-12)
