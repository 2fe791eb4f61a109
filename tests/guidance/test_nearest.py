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


def reference_centers(codes, rows):
    """One step of k-means, row by row; a code without rows stays where it is."""
    members = {}
    for row in rows:
        place = int(np.argmin(((codes - row) ** 2).sum(axis=1)))
        members.setdefault(place, []).append(row)
    return np.array(
        [np.mean(members.get(i, [code]), axis=0) for i, code in enumerate(codes)]
    )


def test_stored_codes_are_the_centres_of_the_rows_nearest_to_them():
    rng = np.random.default_rng(2)
    codes, rows = rng.normal(size=(20, LATENT)), rng.normal(size=(ROWS, LATENT))
    codes[7] += 100.0  # Nearest to none.
    expected = reference_centers(codes, rows)
    actual = jax.jit(nearest._centers)(jnp.float32(codes), jnp.float32(rows))
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(actual[7], codes[7], rtol=1e-6)


def test_probability_is_the_share_of_probes_at_least_as_far(monkeypatch):
    monkeypatch.setattr(nearest, "PROBES", 20)
    params, data = make()
    codes = nearest.fit(encode, params, *data, stored=40)
    means = np.float64(encode(params, *data)[0])
    references, members, probes = nearest.spread(ROWS, 40)
    centers = reference_centers(means[references], means[members])
    np.testing.assert_allclose(codes.codes, centers, atol=1e-4)

    def distance(code):
        return np.sqrt(((centers - code) ** 2).sum(axis=1)).min()

    stored = np.array(sorted(distance(means[place]) for place in probes))
    np.testing.assert_allclose(codes.distances, stored, atol=1e-4)
    queries = np.random.default_rng(1).normal(size=(30, LATENT)) * means.std(axis=0)
    actual = nearest.probabilities(jnp.float32(queries), codes)
    expected = [np.mean(stored >= distance(code)) for code in queries]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert len(set(expected)) > 5


@pytest.mark.parametrize("count", [2, 3, 10, 5_000, 30_001, 100_001, 1_000_000])
@pytest.mark.parametrize("stored", [4_096, 5_000, 32_768])
def test_no_stored_row_is_a_probe_or_nearer_to_one_than_it_must_be(count, stored):
    references, members, probes = nearest.spread(count, stored)
    assert (len(references), len(probes)) == (stored, nearest.PROBES)
    for places in (references, members, probes):
        assert places.min() >= 0
        assert places.max() < count
    assert not set(references) & set(probes)
    assert set(references) <= set(members)
    assert len(members) <= (nearest.ROWS_PER_REFERENCE + 1) * stored
    if count > 2 * stored:
        assert len(set(references)) == stored
        gaps = np.abs(probes[::64, None] - members).min(axis=1)
        assert gaps.min() >= count // stored // 2 - 1
    if count > 4 * stored:
        assert len(members) > 2 * stored


def test_the_inside_of_a_ring_is_unfamiliar():
    angles = jnp.linspace(0, 6.28, ROWS)
    ring = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    codes = nearest.fit(lambda _, x, y: (x, y), (), ring, ring)
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
