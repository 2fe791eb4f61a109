import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from samg_jax.guidance import nearest, normals
from tests import reference_guidance

B, O, A, Z, S, M = 6, 5, 3, 4, 2, 1003  # noqa: E741
SCALE = 30.0  # Of the widest dimension of the code.
CODES = 400  # Fewer than rows: of two equal codes rounding decides which is nearest.
probabilities = jax.jit(normals.probabilities, static_argnums=(0, 5))


def encode(params, observations, actions):
    """A code that is far from centered, correlated, and of unequal scales."""
    pairs = jnp.concatenate([observations, actions], axis=-1)
    means = jnp.tanh(pairs @ params["w"]) * params["scale"] + params["offset"]
    return means, jnp.exp(0.2 * pairs @ params["w"] - 2.0)


def make_params(seed):
    rng = np.random.default_rng(seed)
    return {
        "w": jnp.float32(rng.normal(size=(O + A, Z))),
        "scale": jnp.float32([1.0, 0.02, SCALE, 0.5]),
        "offset": jnp.float32([0.0, 5.0, -100.0, 0.3]),
    }


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    return tuple(np.float32(rng.normal(size=(M, size))) for size in (O, A))


@pytest.fixture(scope="module")
def fitted(data):
    return normals.fit(encode, make_params(0), *data, batch_size=100, codes=CODES)


def random_code(scale=1.5):
    rng = np.random.default_rng(3)
    means = scale * rng.normal(size=(B, Z))
    stds = np.exp(rng.normal(size=(B, Z)))
    root = rng.normal(size=(Z, Z))
    covariance = root @ root.T + 0.3 * np.eye(Z)
    arrays = {
        "mean_mu": rng.normal(size=Z),
        "mean_sigma": np.exp(rng.normal(size=Z)),
        "std_mu": np.exp(rng.normal(size=Z)),
        "std_sigma": np.exp(rng.normal(size=Z)),
        "joint_mu": rng.normal(size=Z),
        "joint_factor": np.linalg.cholesky(covariance),
    }
    leaves = {k: jnp.float32(v) for k, v in arrays.items()}
    fit = normals.Normals(**leaves, nearest=nearest.empty(Z, 0))
    return jnp.float32(means), jnp.float32(stds), fit, covariance


@pytest.mark.parametrize("fit", normals.FITS)
@pytest.mark.parametrize("batch_size", [17, 100, 5000])
def test_streaming_fit_equals_float64_over_all_rows(data, fit, batch_size):
    params = make_params(0)
    actual = normals.fit(encode, params, *data, fit=fit, batch_size=batch_size)
    means, stds = (np.float64(x) for x in jax.jit(encode)(params, *data))
    pooled = fit == "pooled"
    for name, code in (("mean", means), ("std", stds)):
        mu, sigma = reference_guidance.normal(code, pooled)
        np.testing.assert_allclose(getattr(actual, f"{name}_mu"), mu, rtol=2e-6)
        np.testing.assert_allclose(getattr(actual, f"{name}_sigma"), sigma, rtol=2e-6)
    np.testing.assert_allclose(actual.joint_mu, means.mean(axis=0), rtol=2e-6)
    covariance = np.cov(means.T, bias=True)
    factor = np.float64(actual.joint_factor)
    np.testing.assert_array_equal(factor, np.tril(factor))
    scales = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(
        factor @ factor.T / scales, covariance / scales, atol=3e-6
    )


def test_codes_are_fitted_on_demand_and_nothing_else_depends_on_them(data, fitted):
    stacked = jax.tree.map(lambda *x: jnp.stack(x), make_params(0), make_params(1))
    over_seeds = jax.vmap(encode, in_axes=(0, None, None))
    without = normals.fit(over_seeds, stacked, *data, batch_size=100, codes=0)
    empty = jax.tree.leaves(nearest.empty(Z, 0))
    for leaf, one in zip(jax.tree.leaves(without.nearest), empty, strict=True):
        np.testing.assert_array_equal(leaf, np.zeros((S, *one.shape)))
    assert np.asarray(fitted.nearest.distances).any()
    bare, own = (x.replace(nearest=()) for x in (without, fitted))
    for a, b in zip(jax.tree.leaves(bare), jax.tree.leaves(own), strict=True):
        np.testing.assert_allclose(a[0], b, rtol=2e-6, atol=2e-6)


def test_fit_keeps_its_precision_far_from_the_origin():
    rng = np.random.default_rng(0)
    observations = np.float32(1e4 + rng.normal(size=(50_000, 1)))
    code = observations.astype(np.float64)

    def shifted(params, observations, actions):
        return observations, observations

    actual = normals.fit(shifted, (), observations, observations, batch_size=999)
    np.testing.assert_allclose(actual.mean_mu, code.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(actual.mean_sigma, code.std(axis=0), rtol=1e-6)


def assert_same_fit(together, seed, alone):
    """Fails unless a seed of a stacked fit is the fit of the seed alone."""
    nearests = together.nearest, alone.nearest
    others = (fit.replace(nearest=()) for fit in (together, alone))
    for a, b in zip(*map(jax.tree.leaves, others), strict=True):
        np.testing.assert_allclose(a[seed], b, rtol=2e-6, atol=2e-6)
    # Which code is nearest follows from squares, so the distance to it is known to the
    # root of float32's precision, relative to the largest scale of the code.
    for a, b in zip(*map(jax.tree.leaves, nearests), strict=True):
        np.testing.assert_allclose(a[seed], b, rtol=0, atol=1e-3 * SCALE)


def test_fit_of_stacked_seeds_equals_each_seed_alone(data, fitted):
    stacked = jax.tree.map(lambda *x: jnp.stack(x), make_params(0), make_params(1))
    over_seeds = jax.vmap(encode, in_axes=(0, None, None))
    together = normals.fit(over_seeds, stacked, *data, batch_size=100, codes=CODES)
    assert together.joint_factor.shape == (S, Z, Z)
    other = normals.fit(encode, make_params(1), *data, batch_size=100, codes=CODES)
    for i, alone in enumerate((fitted, other)):
        assert_same_fit(together, i, alone)


def test_a_diverged_seed_leaves_the_others_alone(data, fitted):
    broken = {**make_params(0), "offset": jnp.full(Z, np.nan)}
    stacked = jax.tree.map(lambda *x: jnp.stack(x), make_params(0), broken)
    over_seeds = jax.vmap(encode, in_axes=(0, None, None))
    together = normals.fit(over_seeds, stacked, *data, batch_size=100, codes=CODES)
    assert_same_fit(together, 0, fitted)
    assert np.isnan(together.joint_factor[1]).all()


def test_a_latent_dimension_that_never_moves_gives_finite_probabilities(data):
    params = make_params(0)
    params["scale"] = params["scale"].at[1].set(0.0)
    fit = normals.fit(encode, params, *data)
    means, stds = jax.jit(encode)(params, *data)
    for kind in normals.KINDS:
        p = probabilities(kind, means, stds, fit)
        assert np.isfinite(p).all()


@pytest.mark.parametrize("use_std", [False, True])
@pytest.mark.parametrize("kind", ["tail", "window"])
def test_probabilities_match_scipy(kind, use_std):
    means, stds, fit, _ = random_code()
    actual = probabilities(kind, means, stds, fit, 0.7, use_std)
    for i in range(B):
        expected = reference_guidance.probability(
            kind, means[i], fit.mean_mu, fit.mean_sigma, 0.7
        )
        if use_std:
            of_stds = reference_guidance.probability(
                kind, stds[i], fit.std_mu, fit.std_sigma, 0.7
            )
            expected = (expected + of_stds) / 2
        np.testing.assert_allclose(actual[i], expected, rtol=1e-5)


def test_joint_probability_matches_scipy():
    means, stds, fit, covariance = random_code()
    actual = probabilities("joint", means, stds, fit)
    expected = [
        reference_guidance.joint_probability(row, fit.joint_mu, covariance)
        for row in means
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_joint_probability_is_uniform_on_normal_data():
    _, _, fit, _ = random_code()
    noise = np.random.default_rng(0).normal(size=(2000, Z))
    means = jnp.float32(fit.joint_mu + noise @ fit.joint_factor.T)
    p = probabilities("joint", means, means, fit)
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", normals.KINDS)
def test_probability_falls_away_from_the_center_and_stays_in_range(kind):
    _, _, fit, _ = random_code()
    center = fit.joint_mu if kind == "joint" else fit.mean_mu
    rng = np.random.default_rng(5)
    direction = rng.normal(size=Z)
    if kind == "nearest":  # One code in the center, and others out of reach.
        unit = np.linalg.norm(direction * fit.mean_sigma)
        usual = np.sort(unit * np.abs(rng.normal(size=2000, scale=2.0)))
        codes = jnp.stack([jnp.float32(center), jnp.full(Z, 1e9)])
        fit = fit.replace(nearest=nearest.Codes(codes, jnp.float32(usual)))
    distances = np.array([0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 1e3, 1e6])
    for sign in (-1, 1):
        steps = sign * distances[:, None] * direction * fit.mean_sigma
        means = jnp.float32(center + steps)
        p = np.asarray(probabilities(kind, means, jnp.ones_like(means), fit))
        assert np.all((p >= 0) & (p <= 1))
        assert np.all(np.diff(p[:6]) < 0)
        assert np.all(p[6:] < 1e-6)
    if kind != "window":
        assert p[0] == 1.0


def test_a_wider_window_has_a_higher_probability():
    means, stds, fit, _ = random_code()
    p = [probabilities("window", means, stds, fit, d) for d in (0.5, 1.0, 2.0)]
    assert np.all(np.diff(p, axis=0) > 0)


def test_wrong_kinds_and_shapes_are_refused(data):
    means, stds, fit, _ = random_code()
    with pytest.raises(ValueError, match="Did you mean 'window'"):
        normals.probabilities("windows", means, stds, fit)
    for kind in ("joint", "nearest"):
        with pytest.raises(ValueError, match="latent means only"):
            normals.probabilities(kind, means, stds, fit, use_std=True)
    with pytest.raises(ValueError, match="per_dimension"):
        normals.fit(encode, make_params(0), *data, fit="per-dim")
    with pytest.raises(ValueError, match="number of rows is 0"):
        normals.fit(encode, make_params(0), *(x[:0] for x in data))
    with pytest.raises(AssertionError):
        normals.probabilities("tail", means[:, :-1], stds[:, :-1], fit)
    with pytest.raises(AssertionError):
        normals.probabilities("tail", means[0], stds[0], fit)
    with pytest.raises(AssertionError):
        normals.fit(encode, make_params(0), data[0], data[1][:-1])
