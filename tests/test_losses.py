import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax import losses
from tests import reference

B, E, N = 7, 2, 5


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_td_targets_match_a_plain_loop():
    rewards, next_values = draw(2, B)
    masks = np.float32([1, 0, 1, 1, 0, 1, 1])
    actual = losses.td_targets(rewards, masks, next_values, 0.9)
    assert_close(actual, reference.td_targets(rewards, masks, next_values, 0.9))
    np.testing.assert_array_equal(actual[masks == 0], rewards[masks == 0])


def test_td_loss_is_a_mean_over_the_batch_and_a_sum_over_the_ensemble():
    q, targets = draw(E, B), draw(B, seed=1)
    assert_close(losses.td_loss(q, targets), reference.td_loss(q, targets))


@pytest.mark.parametrize("inverse_temperature", [1 / 0.3333, 10.0])
def test_exponential_weights_match_a_plain_loop(inverse_temperature):
    advantages = jnp.append(draw(B), jnp.float32([-1e4, 1e4, 1e38]))
    actual = losses.exponential_weights(advantages, inverse_temperature, 100.0)
    expected = reference.exponential_weights(advantages, inverse_temperature, 100.0)
    assert_close(actual, expected)


@pytest.mark.parametrize(
    ("inverse_temperature", "advantage"),
    [
        (1 / 0.3333, 1.534903),
        (1 / 0.1, 0.460517),
        (3.0, 1.535057),
        (6.0, 0.767528),
        (10.0, 0.460517),
    ],
)
def test_exponential_weights_saturate_where_corl_does(inverse_temperature, advantage):
    advantages = np.float32([advantage * 0.999, advantage * 1.001])
    below, above = losses.exponential_weights(advantages, inverse_temperature, 100.0)
    np.testing.assert_allclose(above, 100.0, rtol=1e-6)
    # The weight just below: 0.1 % of ln 100 lower in the exponent.
    np.testing.assert_allclose(below, 100.0 ** (1 - 1e-3), rtol=1e-5)


def test_weighted_regression_loss_matches_a_plain_loop():
    log_probs, weights = draw(2, B)
    actual = losses.weighted_regression_loss(log_probs, weights)
    assert_close(actual, reference.weighted_regression_loss(log_probs, weights))


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9])
def test_expectile_loss_matches_a_plain_loop(expectile):
    values, targets = draw(2, B)
    actual = losses.expectile_loss(values, targets, expectile)
    assert_close(actual, reference.expectile_loss(values, targets, expectile))


def test_expectile_loss_leans_towards_large_targets():
    zero = jnp.zeros(1)
    above = losses.expectile_loss(zero, zero + 1.0, 0.9)
    below = losses.expectile_loss(zero, zero - 1.0, 0.9)
    np.testing.assert_allclose([above, below], [0.9, 0.1], rtol=1e-6)


def test_squared_errors_are_means_over_dimensions():
    predictions, targets = draw(2, B, N)
    actual = losses.squared_errors(predictions, targets)
    assert actual.shape == (B,)
    assert_close(actual, reference.squared_errors(predictions, targets))


def test_normalized_value_loss_matches_a_plain_loop_and_ignores_the_scale():
    q = draw(B)
    actual = losses.normalized_value_loss(q)
    assert_close(actual, reference.normalized_value_loss(q))
    assert_close(losses.normalized_value_loss(1000 * q), actual)
    gradient = jax.grad(losses.normalized_value_loss)(jnp.asarray(q))
    assert_close(gradient, np.full(B, -1 / np.abs(q).sum()))


def test_soft_actor_loss_matches_a_plain_loop():
    log_probs, q = draw(2, B)
    actual = losses.soft_actor_loss(log_probs, q, jnp.float32(0.3))
    assert_close(actual, reference.soft_actor_loss(log_probs, q, 0.3))


def test_temperature_loss_matches_a_plain_loop():
    log_probs = draw(B)
    actual = losses.temperature_loss(jnp.float32(-0.7), log_probs, -3.0)
    assert_close(actual, reference.temperature_loss(-0.7, log_probs, -3.0))


@pytest.mark.parametrize("temperature", [1.0, 0.4, 5.0])
@pytest.mark.parametrize("clip", [(-np.inf, np.inf), (-0.5, 2.0)])
def test_conservative_gaps_match_a_plain_loop(temperature, clip):
    inputs = draw(N, E, B), 3 * draw(E, B, seed=1), draw(N, B, seed=2)
    actual = losses.conservative_gaps(*inputs, temperature, clip)
    expected = reference.conservative_gaps(*inputs, temperature, clip)
    assert actual.shape == (E, B)
    assert_close(actual, expected)


def test_calibration_raises_values_below_the_bound_only():
    q, bounds = draw(4, 2, 5), draw(5, seed=1)
    bounds[0] = -np.inf  # The episode is not over.
    actual = losses.calibrated(q, bounds)
    assert_close(actual, reference.calibrated(q, bounds))
    assert 0 < np.sum(np.asarray(actual) != q) < q.size


def test_the_multiplier_rises_where_the_penalty_is_positive():
    gradient = jax.grad(losses.multiplier_loss, argnums=(0, 1))
    for penalty in (-3.0, 4.0):
        wanted = (-0.5 * penalty, 0.0)  # None to the penalty.
        assert gradient(2.0, penalty) == pytest.approx(wanted)
        assert losses.multiplier_loss(2.0, penalty) == pytest.approx(-penalty)


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.8, 0.81, 1.0, 7.0])
def test_cooled_weight_falls_to_its_floor(progress):
    expected = reference.cooled_weight(0.25, progress, 0.2)
    assert_close(losses.cooled_weight(0.25, jnp.float32(progress), 0.2), expected)


def test_evidence_loss_matches_a_plain_loop():
    errors, kl = draw(6), draw(6, seed=1)
    expected = reference.evidence_loss(errors, kl, 0.5)
    assert_close(losses.evidence_loss(errors, kl, 0.5), expected)


def test_conservative_gaps_of_large_values_do_not_overflow():
    inputs = 1e4 * draw(N, E, B), draw(E, B, seed=1), draw(N, B, seed=2)
    clip = (-np.inf, np.inf)
    actual = losses.conservative_gaps(*inputs, 1.0, clip)
    expected = reference.conservative_gaps(*inputs, 1.0, clip)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "inputs", "silent"),
    [
        (lambda *x: losses.td_targets(*x, 0.9).sum(), [(B,)] * 3, (0, 1, 2)),
        (lambda x: losses.exponential_weights(x, 3.0, 100.0).sum(), [(B,)], (0,)),
        (losses.weighted_regression_loss, [(B,), (B,)], (1,)),
        (lambda x, y: losses.expectile_loss(x, y, 0.7), [(B,), (B,)], (1,)),
        (losses.soft_actor_loss, [(B,), (B,), ()], (2,)),
        (lambda x, y: losses.temperature_loss(x, y, -3.0), [(), (B,)], (1,)),
    ],
)
def test_gradients_flow_through_the_named_inputs_only(loss, inputs, silent):
    inputs = [draw(*shape, seed=i) for i, shape in enumerate(inputs)]
    inputs = [jnp.asarray(x) for x in inputs]
    grads = jax.grad(loss, argnums=tuple(range(len(inputs))))(*inputs)
    for index, grad in enumerate(grads):
        assert np.any(grad != 0) == (index not in silent), f"input {index}"


# Each loss with right shapes; every one of these is then given a wrong one.
SHAPES = [
    (lambda *x: losses.td_targets(*x, 0.9), [(B,), (B,), (B,)]),
    (losses.td_loss, [(E, B), (B,)]),
    (lambda x: losses.exponential_weights(x, 3.0, 100.0), [(B,)]),
    (losses.weighted_regression_loss, [(B,), (B,)]),
    (lambda x, y: losses.expectile_loss(x, y, 0.7), [(B,), (B,)]),
    (losses.squared_errors, [(B, N), (B, N)]),
    (losses.normalized_value_loss, [(B,)]),
    (losses.kl_divergence, [(B, N), (B, N)]),
    (losses.soft_actor_loss, [(B,), (B,), ()]),
    (lambda x, y: losses.temperature_loss(x, y, -3.0), [(), (B,)]),
    (
        lambda *x: losses.conservative_gaps(*x, 1.0, (-1.0, 1.0)),
        [(N, E, B), (E, B), (N, B)],
    ),
]


@pytest.mark.parametrize(("loss", "shapes"), SHAPES)
def test_columns_and_other_lengths_are_refused(loss, shapes):
    def shape_of_loss(shapes):
        return jax.eval_shape(
            loss, *(jax.ShapeDtypeStruct(s, "float32") for s in shapes)
        )

    shape_of_loss(shapes)
    for index, shape in enumerate(shapes):
        wrong = [(*shape, 1)]
        if shape and () not in shapes[:1] and len(shapes) > 1:
            wrong += [(*shape[:-1], B + 1), (*shape[:-1], 1)]
        for other in wrong:
            with pytest.raises(AssertionError):
                shape_of_loss([*shapes[:index], other, *shapes[index + 1 :]])
