"""A simple baseline for the weights: the distance to the nearest offline pairs."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn import neighbors, preprocessing

from samg_jax.diagnosis.judged_pairs import Pairs

# This covers a dataset of up to a few hundred thousand rows; time grows with it.
REFERENCE_ROWS = 200_000
NEIGHBORS = 1
# The number of rows whose distances to all references are in memory at once.
QUERY_ROWS = 1_000


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """Mean Euclidean distance of standardized pairs to their nearest offline pairs.

    Attributes:
        scaler: standardizes (s, a) with the moments of all training pairs.
        index: index over at most `REFERENCE_ROWS` of them.
        familiar: `[H]` distances of the held-out pairs, ascending.
    """

    scaler: preprocessing.StandardScaler
    index: neighbors.NearestNeighbors
    familiar: np.ndarray

    def distances(self, pairs: Pairs) -> np.ndarray:
        """The distance of each pair, `[M]`, batch by batch."""
        return _distances(self.scaler, self.index, pairs)

    def p_int(self, pairs: Pairs) -> np.ndarray:
        """The share of held-out pairs at least as far as each pair, `[M]`.

        It reads like the weights: near uniform on held-out pairs.
        """
        below = np.searchsorted(self.familiar, self.distances(pairs), side="left")
        return 1.0 - below / len(self.familiar)


def fit(
    train: Pairs,
    held_out: Pairs,
    rng: np.random.Generator,
    count: int = NEIGHBORS,
    rows: int = REFERENCE_ROWS,
) -> Yardstick:
    """Fit the baseline to offline pairs.

    Args:
        train: The pairs that train the weight models as well.
        held_out: The pairs that judge them.
        rng: The generator of the subsample that is searched, so that memory and time
            do not grow with the dataset.
        count: The number of nearest pairs to average over.
        rows: The largest size of the subsample.
    """
    scaler = preprocessing.StandardScaler().fit(_stacked(train))
    chosen = np.arange(len(train.actions))
    if len(chosen) > rows:
        chosen = rng.choice(len(chosen), rows, replace=False)
    sample = Pairs(*(field[chosen] for field in train))
    # In this many dimensions a tree would search all rows too, only slower.
    index = neighbors.NearestNeighbors(
        n_neighbors=min(count, len(chosen)), algorithm="brute"
    ).fit(scaler.transform(_stacked(sample)))
    return Yardstick(scaler, index, np.sort(_distances(scaler, index, held_out)))


def _stacked(pairs: Pairs) -> np.ndarray:
    return np.concatenate([pairs.observations, pairs.actions], axis=1)


def _distances(scaler, index, pairs: Pairs) -> np.ndarray:
    rows = scaler.transform(_stacked(pairs))
    starts = range(0, len(rows), QUERY_ROWS)
    batches = [index.kneighbors(rows[i : i + QUERY_ROWS])[0] for i in starts]
    return np.concatenate(batches).mean(axis=1)
