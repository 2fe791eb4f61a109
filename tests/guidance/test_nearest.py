"""The nearest stored code against distances computed one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.guidance import nearest

OBSERVATIONS, ACTIONS, LATENT, ROWS = 3, 2, 4, 500


def encode(params, observations, actions):
    pairs = jnp.concatenate([observations, actions], axis=-1)
    means = jnp.tanh(pairs @ params) * jnp.array([1.0, 10.0, 0.1, 1.0])
    return means, jnp.ones_like(means)


def make(seed=0):
    rng = np.random.default_rng(seed)
    sizes = OBSERVATIONS, ACTIONS
    data = [jnp.float32(rng.normal(size=(ROWS, size))) for size in sizes]
    params = jnp.float32(rng.normal(size=(sum(sizes), LATENT)))
    return params, data


def test_probability_is_the_share_of_probes_at_least_as_far():
    params, data = make()
    codes = nearest.fit(encode, params, *data)
    means = np.float64(encode(params, *data)[0])
    references, probes = nearest.spread(ROWS)
    scale = means[references].std(axis=0)

    def distance(code):
        offsets = (means[references] - code) / scale
        return np.sqrt((offsets**2).sum(axis=1)).min()

    stored = np.asarray(codes.distances)
    for place in probes[::100]:
        assert np.abs(stored - distance(means[place])).min() < 1e-3
    queries = 1.5 * np.random.default_rng(1).normal(size=(30, LATENT)) * scale
    actual = nearest.probabilities(jnp.float32(queries), codes)
    expected = [np.mean(stored >= distance(code)) for code in queries]
    np.testing.assert_allclose(actual, expected, atol=2 / nearest.PROBES)
    assert len(set(expected)) > 10


@pytest.mark.parametrize("count", [2, 3, 10, 5_000, 100_001])
def test_references_and_probes_are_disjoint_rows(count):
    references, probes = nearest.spread(count)
    assert (len(references), len(probes)) == (nearest.REFERENCES, nearest.PROBES)
    for places in (references, probes):
        assert places.min() >= 0
        assert places.max() < count
    assert not set(references) & set(probes)
    if count > 2 * nearest.REFERENCES:
        assert len(set(references)) == nearest.REFERENCES
        gaps = np.abs(probes[::64, None] - references).min(axis=1)
        assert np.median(gaps) >= count // nearest.REFERENCES // 2 - 1


def test_the_inside_of_a_ring_is_unfamiliar():
    angles = jnp.linspace(0, 6.28, ROWS)
    ring = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    codes = nearest.fit(lambda _, x, y: (x, y), (), ring, ring)
    scale = np.asarray(codes.scale)
    np.testing.assert_allclose(scale, np.sqrt(0.5), rtol=0.02)
    p = nearest.probabilities(jnp.array([[0.0, 0.0], [1.0, 0.001]]), codes)
    assert p[0] == 0.0
    assert p[1] > 0.0


def test_only_the_given_rows_are_stored():
    params, data = make()
    rows = np.arange(100, 300)
    codes = nearest.fit(encode, params, *data, rows)
    own = nearest.fit(encode, params, *(field[100:300] for field in data))
    for a, b in zip(jax.tree.leaves(codes), jax.tree.leaves(own), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_code_that_is_not_a_number_has_no_probability():
    params, data = make()
    codes = nearest.fit(encode, params, *data)
    p = nearest.probabilities(jnp.array([[np.nan] * LATENT, [0.0] * LATENT]), codes)
    np.testing.assert_array_equal(np.isnan(p), [True, False])
    broken = codes.replace(codes=codes.codes.at[0].set(np.nan))
    assert np.isnan(nearest.probabilities(jnp.zeros((1, LATENT)), broken)).all()
