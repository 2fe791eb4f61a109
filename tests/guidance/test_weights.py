import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.guidance import cvae, models, normals, quantiles, weights
from tests import reference_guidance

B, O, A, M, S = 6, 5, 3, 300, 2  # noqa: E741
CONFIG = weights.GuidanceConfig(cvae=cvae.Config(hidden_dim=16, encoder_layers=1))
MODEL = cvae.CVAE(CONFIG.cvae, O, A)


def change(**settings):
    return dataclasses.replace(CONFIG, **settings)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return tuple(np.float32(rng.normal(size=(M, size))) for size in (O, A))


@pytest.fixture(scope="module")
def stacked(data):
    """C-VAE weights of two seeds."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0)).model.params
    params = jax.tree.map(
        lambda x: jnp.float32(rng.uniform(-0.3, 0.3, size=(S, *x.shape))), shapes
    )
    encode = jax.vmap(MODEL.encode, in_axes=(0, None, None))
    fit = normals.fit(encode, params, *data, batch_size=128)
    return models.CVAEWeight(params, fit)


@pytest.fixture(scope="module")
def weight(stacked):
    return jax.tree.map(lambda x: x[0], stacked)


def weigh(config, guidance, observations, actions, seed=0):
    key = jax.random.key(seed)
    fn = jax.jit(weights.weights(config))
    return fn(guidance, observations, actions, observations, key)


def reference_p_int(kind, weight, observations, actions, delta):
    means, _ = reference_guidance.encode(weight.params, observations, actions, layers=1)
    fit = weight.normals
    return [
        reference_guidance.probability(kind, row, fit.mean_mu, fit.mean_sigma, delta)
        for row in means
    ]


@pytest.mark.parametrize(
    ("kind", "mode"), [("tail", "hard"), ("tail", "soft"), ("window", "hard")]
)
def test_cvae_weight_matches_the_formulas_from_pair_to_cut(data, weight, kind, mode):
    config = change(kind=kind, cut=mode, delta=0.8, threshold=0.45, temperature=0.1)
    guidance = weights.make_guidance(config, (), weight)
    pairs = tuple(x[:50] for x in data)
    actual = weigh(config, guidance, *pairs)
    p_int = reference_p_int(kind, weight, *pairs, delta=0.8)
    expected = reference_guidance.cut(p_int, 0.45, mode, 0.1)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-6)
    assert 0 < np.mean(expected == 0) < 1 or mode == "soft"


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_cut_matches_a_plain_loop_and_falls_with_the_threshold(mode):
    p_int = np.linspace(0, 1, 41, dtype=np.float32)
    cuts = []
    for threshold in (0.0, 0.3, 0.5, 0.75, 1.0):
        actual = weights.cut(p_int, np.float32(threshold), mode, 0.05)
        expected = reference_guidance.cut(p_int, np.float32(threshold), mode, 0.05)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-9)
        assert np.all((actual >= 0) & (actual <= p_int))
        cuts.append(actual)
    assert np.all(np.diff(cuts, axis=0) <= 0)


def test_hard_cut_keeps_the_threshold_itself_and_does_not_hide_nan():
    p_int = jnp.float32([0.5, 0.4999, np.nan])
    np.testing.assert_array_equal(weights.cut(p_int, 0.5), np.float32([0.5, 0, np.nan]))
    np.testing.assert_array_equal(weights.cut(p_int[:2], 0.0), p_int[:2])


def test_a_narrow_soft_cut_is_the_hard_cut():
    p_int = jnp.linspace(0, 1, 40)
    soft = weights.cut(p_int, 0.5, "soft", 1e-4)
    np.testing.assert_allclose(soft, weights.cut(p_int, 0.5), atol=1e-6)


def test_offline_probabilities_stream_and_give_threshold_and_quantiles(data, weight):
    config = change(threshold_quantile=0.3)
    fn = functools.partial(weights.cvae_probabilities, config)
    p_int = quantiles.offline_probabilities(
        lambda w, *pairs: fn(w, config.delta, *pairs), weight, *data, batch_size=128
    )
    assert p_int.shape == (M,)
    expected = reference_p_int("tail", weight, *data, delta=1.0)
    np.testing.assert_allclose(p_int, expected, rtol=2e-4, atol=1e-6)
    threshold = quantiles.at(quantiles.grid(p_int), config.threshold_quantile)
    np.testing.assert_allclose(threshold, np.quantile(p_int, 0.3), rtol=1e-6)
    assert abs(np.mean(p_int < threshold) - 0.3) < 2 / M
    guidance = weights.make_guidance(config, (), weight, threshold)
    share_cut = np.mean(weigh(config, guidance, *data) == 0)
    assert abs(share_cut - 0.3) < 2 / M
    report = quantiles.report(p_int)
    assert list(report) == [f"p_int_q{q}" for q in ("05", "25", "50", "75", "95")]
    np.testing.assert_allclose(report["p_int_q50"], np.median(p_int), rtol=1e-6)


def test_a_quantile_without_probabilities_is_refused(weight):
    config = change(threshold_quantile=0.3)
    with pytest.raises(ValueError, match=r"quantiles\.at"):
        weights.make_guidance(config, (), weight)
    config = change(threshold_quantile=0.3, weight="constant")
    weights.make_guidance(config, ())


def test_seeds_with_their_own_thresholds_equal_each_seed_alone(data, stacked):
    config = change(threshold_quantile=0.5)
    over_seeds = jax.vmap(
        lambda w, *pairs: weights.cvae_probabilities(config, w, 1.0, *pairs),
        in_axes=(0, None, None),
    )
    p_int = quantiles.offline_probabilities(over_seeds, stacked, *data, batch_size=128)
    threshold = jax.vmap(quantiles.at, in_axes=(0, None))(quantiles.grid(p_int), 0.5)
    assert threshold.shape == (S,)
    assert quantiles.report(p_int)["p_int_q25"].shape == (S,)
    offline = jnp.arange(S * 3.0).reshape(S, 3)
    make = functools.partial(weights.make_guidance, config)
    guidance = jax.vmap(make)(offline, stacked, threshold)
    assert guidance.strength.shape == (S,)
    pairs = tuple(x[:B] for x in data)
    in_axes = (0, None, None, None, 0)
    together = jax.jit(jax.vmap(weights.weights(config), in_axes=in_axes))(
        guidance, *pairs, pairs[0], jax.random.split(jax.random.key(0), S)
    )
    for i in range(S):
        alone = jax.tree.map(lambda x: x[i], guidance)  # noqa: B023
        np.testing.assert_allclose(
            together[i], weigh(config, alone, *pairs), rtol=1e-4, atol=1e-6
        )


def test_constant_even_random_and_none_are_not_cut(data):
    config = change(weight="constant", constant=0.2)
    p = weigh(config, weights.make_guidance(config, ()), *data)
    np.testing.assert_array_equal(p, np.full(M, 0.2, np.float32))

    config = change(weight="even")
    p = weigh(config, weights.make_guidance(config, ()), *data)
    np.testing.assert_array_equal(p, np.full(M, 0.5, np.float32))

    config = change(weight="random")
    guidance = weights.make_guidance(config, ())
    p = weigh(config, guidance, *data)
    assert p.shape == (M,)
    assert 0 <= p.min() < 0.1
    assert 0.9 < p.max() < 1
    assert np.any(p != weigh(config, guidance, *data, seed=1))

    config = change(weight="none")
    p = weigh(config, weights.make_guidance(config, ()), *data)
    np.testing.assert_array_equal(p, np.zeros(M))


def test_the_settings_of_the_guidance_are_leaves():
    config = change(weight="constant", strength=0.25, threshold=0.4, delta=2.0)
    guidance = weights.make_guidance(config, {"w": jnp.ones(2)})
    assert (guidance.strength, guidance.delta) == (0.25, 2.0)
    assert guidance.threshold == np.float32(0.4)
    swept = guidance.replace(constant=jnp.float32([0.1, 0.9]))
    fn = weights.weights(config)
    axes = jax.tree.map(lambda _: None, guidance).replace(constant=0)
    pairs = jnp.ones((B, O)), jnp.ones((B, A)), jnp.ones((B, O))
    p = jax.vmap(fn, in_axes=(axes, None, None, None, None))(
        swept, *pairs, jax.random.key(0)
    )
    np.testing.assert_array_equal(p, np.float32([[0.1] * B, [0.9] * B]))


def test_offline_parameters_are_copied():
    offline = {"w": jnp.arange(3.0)}
    guidance = weights.make_guidance(change(weight="none"), offline)
    step = jax.jit(lambda p: jax.tree.map(lambda x: x + 1, p), donate_argnums=0)
    step(offline)
    np.testing.assert_array_equal(guidance.offline["w"], [0.0, 1.0, 2.0])


def test_a_weight_of_ones_own_is_one_line(monkeypatch, data):
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))
    weights.register(
        "near", lambda c, g, s, a, s2, key: jnp.exp(-g.weight * s[:, 0] ** 2)
    )
    config = change(weight="near")
    guidance = weights.make_guidance(config, (), jnp.float32(2.0))
    p = weigh(config, guidance, *data)
    np.testing.assert_allclose(p, np.exp(-2 * data[0][:, 0] ** 2), rtol=1e-5)
    with pytest.raises(ValueError, match="already registered"):
        weights.register("near", lambda *_: None)
    weights.register("column", lambda c, g, s, a, s2, key: s[:, :1])
    config = change(weight="column")
    with pytest.raises(AssertionError):
        weigh(config, guidance, *data)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"weight": "cave"}, "Did you mean 'cvae'"),
        ({"kind": "tails"}, "Did you mean 'tail'"),
        ({"fit": "pool"}, "Did you mean 'pooled'"),
        ({"cut": "firm"}, "hard, soft"),
        ({"penalty": "offline"}, "mixed, online"),
        ({"freeze": "critics"}, "Did you mean 'critic'"),
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold_quantile": -0.1}, "threshold_quantile"),
        ({"constant": 2.0}, "constant"),
        ({"strength": -1.0}, "strength"),
        ({"temperature": 0.0}, "temperature"),
        ({"delta": float("inf")}, "delta"),
        ({"cutoff_steps": -1}, "cutoff_steps"),
        ({"cutoff_steps": 1e5}, "integer"),
        ({"kind": "joint", "use_std": True}, "latent means only"),
        ({"kind": "nearest", "use_std": True}, "latent means only"),
        ({"kind": "joint", "fit": "pooled"}, "no normals per dimension"),
        ({"kind": "nearest", "fit": "pooled"}, "no normals per dimension"),
    ],
)
def test_wrong_settings_of_the_guidance_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        change(**settings)
