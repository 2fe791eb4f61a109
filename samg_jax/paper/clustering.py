"""Hierarchical clusters of points in a plane, of as many points as one likes."""

from __future__ import annotations

import numpy as np
from scipy import sparse, spatial
from sklearn import cluster

LINKAGES = ("ward", "average", "complete", "single")
ALL_PAIRS_ROWS = 10_000  # The distances of all pairs of so many take 400 MB.


def assign(points: np.ndarray, clusters: int, linkage: str) -> np.ndarray:
    """Returns the number of the cluster of each point, `[n]`.

    Of more than `ALL_PAIRS_ROWS` points only neighboring clusters are merged, which
    needs memory in proportion to the points rather than to their pairs.

    Args:
        points: `[n, 2]`.
        clusters: their number, less than n.
        linkage: one of `LINKAGES`.
    """
    if not np.ptp(points, axis=0).any():  # Qhull wants no such points.
        return np.zeros(len(points), int)
    graph = neighbors(points) if len(points) > ALL_PAIRS_ROWS else None
    model = cluster.AgglomerativeClustering(
        n_clusters=clusters, linkage=linkage, connectivity=graph
    )
    return model.fit_predict(points)


def neighbors(points: np.ndarray) -> sparse.csr_matrix:
    """Returns which points are neighbors, `[n, n]`, by Delaunay's triangulation.

    Unlike the graph of the k nearest neighbors it is connected: scikit-learn would
    join parts of a graph by the distances of all pairs of their points.

    Args:
        points: `[n, 2]`, not all on one line.
    """
    # Points at the place of another are corners of no triangle, but Qhull tells them.
    found = spatial.Delaunay(points)
    corners = found.simplices
    sides = [corners[:, ends] for ends in ([0, 1], [1, 2], [2, 0])]
    edges = np.concatenate([*sides, found.coplanar[:, [0, 2]]])
    ones = np.ones(len(edges), bool)
    graph = sparse.coo_matrix((ones, edges.T), (len(points),) * 2).tocsr()
    return graph + graph.T
