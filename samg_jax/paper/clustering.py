"""Hierarchical clusters of points in a plane, for any number of points."""

from __future__ import annotations

import numpy as np
from scipy import sparse, spatial
from sklearn import cluster

LINKAGES = ("ward", "average", "complete", "single")
ALL_PAIRS_ROWS = 10_000  # The distances of all pairs of this many take 400 MB.


def assign(points: np.ndarray, clusters: int, linkage: str) -> np.ndarray:
    """The index of each point's cluster, `[n]`.

    For more than `ALL_PAIRS_ROWS` points only neighboring clusters are merged, which
    needs memory in proportion to the points instead of their pairs.

    Args:
        points: `[n, 2]`.
        clusters: The number of clusters, less than n.
        linkage: One of `LINKAGES`.
    """
    if not np.ptp(points, axis=0).any():  # Qhull wants no such points.
        return np.zeros(len(points), int)
    graph = neighbors(points) if len(points) > ALL_PAIRS_ROWS else None
    model = cluster.AgglomerativeClustering(
        n_clusters=clusters, linkage=linkage, connectivity=graph
    )
    return model.fit_predict(points)


def neighbors(points: np.ndarray) -> sparse.csr_matrix:
    """The neighborhood of points, `[n, n]`, by Delaunay's triangulation.

    Unlike the graph of the k nearest neighbors, this graph is connected: scikit-learn
    would join parts of a graph by the distances of all pairs of their points.

    Args:
        points: `[n, 2]`, not all on one line.
    """
    # Points that coincide with another are no corners, but Qhull reports them.
    found = spatial.Delaunay(points)
    corners = found.simplices
    sides = [corners[:, ends] for ends in ([0, 1], [1, 2], [2, 0])]
    edges = np.concatenate([*sides, found.coplanar[:, [0, 2]]])
    ones = np.ones(len(edges), bool)
    graph = sparse.coo_matrix((ones, edges.T), (len(points),) * 2).tocsr()
    return graph + graph.T
