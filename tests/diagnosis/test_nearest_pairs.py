"""The nearest-neighbor yardstick against distances computed one by one."""

import numpy as np
import pytest

from samg_jax.diagnosis import discrimination, nearest_pairs
from samg_jax.diagnosis.judged_pairs import Pairs

OBSERVATION_SIZE, ACTION_SIZE = 3, 2


def make_pairs(rows, seed, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    observations = shift + scale * rng.normal(size=(rows, OBSERVATION_SIZE)) * [
        1,
        10,
        0.1,
    ]
    actions = rng.uniform(-1, 1, (rows, ACTION_SIZE))
    return Pairs(*(np.float32(x) for x in (observations, actions, observations)))


def stack(pairs):
    return np.concatenate([pairs.observations, pairs.actions], axis=1)


def make(count=1, rows=1_000):
    train, held_out = make_pairs(300, 0), make_pairs(80, 1)
    rng = np.random.default_rng(3)
    return train, held_out, nearest_pairs.fit(train, held_out, rng, count, rows)


@pytest.mark.parametrize("count", [1, 5])
def test_distances_are_those_of_a_plain_loop(count):
    train, _, ruler = make(count)
    queries = make_pairs(20, 2)
    mean = stack(train).mean(axis=0, dtype=np.float64)
    std = stack(train).std(axis=0, dtype=np.float64)
    references = (stack(train) - mean) / std
    expected = [
        np.sort(np.linalg.norm(references - (row - mean) / std, axis=1))[:count].mean()
        for row in stack(queries)
    ]
    np.testing.assert_allclose(ruler.distances(queries), expected, rtol=1e-4)


def test_p_is_the_share_of_held_out_pairs_at_least_as_far():
    _, held_out, ruler = make()
    queries = make_pairs(30, 4, scale=2.0)
    far = ruler.distances(held_out)
    expected = [np.mean(far >= distance) for distance in ruler.distances(queries)]
    np.testing.assert_allclose(ruler.p_int(queries), expected)
    assert ruler.p_int(held_out).mean() == pytest.approx(0.5, abs=0.02)


def test_pairs_from_elsewhere_are_told_apart():
    _, held_out, ruler = make()
    elsewhere = make_pairs(60, 5, shift=50.0)
    near = -ruler.distances(held_out)[None], -ruler.distances(elsewhere)[None]
    assert discrimination.auroc(*near)[0] == 1.0
    np.testing.assert_array_equal(ruler.p_int(elsewhere), 0.0)


def test_only_a_subsample_is_searched_and_batches_change_nothing(monkeypatch):
    _, _, ruler = make(rows=100)
    assert ruler.index.n_samples_fit_ == 100
    queries = make_pairs(50, 6)
    whole = ruler.distances(queries)
    monkeypatch.setattr(nearest_pairs, "QUERY_ROWS", 7)
    np.testing.assert_allclose(ruler.distances(queries), whole, rtol=1e-6)
