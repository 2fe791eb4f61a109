"""Clusters by neighbors only: the same as by all pairs, without their memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csgraph
from sklearn import metrics

from samg_jax.paper import clustering


@pytest.fixture
def by_neighbors(monkeypatch):
    """Makes every clustering one by neighbors."""
    return lambda: monkeypatch.setattr(clustering, "ALL_PAIRS_ROWS", 0)


@pytest.mark.parametrize("linkage", clustering.LINKAGES)
def test_heaps_are_found_by_neighbors_as_by_all_pairs(linkage, by_neighbors):
    rng = np.random.default_rng(0)
    places = np.array([[0, 0], [20, 0], [0, 20], [30, 30]])
    heaps = rng.integers(4, size=300)
    points = places[heaps] + rng.normal(size=(300, 2))
    for _ in range(2):
        found = clustering.assign(points, 4, linkage)
        assert metrics.adjusted_rand_score(heaps, found) == 1
        by_neighbors()


def test_clusters_without_gaps_are_as_compact_by_neighbors(by_neighbors):
    # Where levels overlap there is no right answer, but Ward's measure of one.
    points = np.random.default_rng(0).normal(size=(1_500, 2))

    def spread_within():
        found = clustering.assign(points, 20, "ward")
        assert len(np.unique(found)) == 20
        return sum(
            ((own - own.mean(axis=0)) ** 2).sum()
            for own in (points[found == number] for number in range(20))
        )

    expected = spread_within()
    by_neighbors()
    assert spread_within() == pytest.approx(expected, rel=0.05)


def test_the_graph_is_connected_and_flat_whatever_coincides():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(50, 2)), 1e4 + rng.normal(size=(50, 2))])
    points = np.concatenate([points, points[:30], points[:30]])
    graph = clustering.neighbors(points)
    assert csgraph.connected_components(graph)[0] == 1
    assert (graph != graph.T).nnz == 0
    assert graph.nnz <= 6 * len(points)  # Of a graph in the plane, in both directions.
    for copy in (100, 130):
        assert graph[copy].nnz > 0


def test_above_a_number_of_points_there_is_no_matrix_of_their_pairs(monkeypatch):
    points = np.random.default_rng(0).normal(size=(3_000, 2))
    pairs = 8 * len(points) * (len(points) - 1) / 2  # Bytes of their distances.
    for most, low, high in [(3_000, pairs, np.inf), (2_999, 0, pairs / 4)]:
        monkeypatch.setattr(clustering, "ALL_PAIRS_ROWS", most)
        tracemalloc.start()
        clustering.assign(points, 20, "ward")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert low <= peak < high
