"""k-means, small and deterministic: the same rows give the same clusters in every run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

RESTARTS = 8
MOST_STEPS = 100


class Clusters(NamedTuple):
    """Rows in groups.

    Attributes:
        labels: (n,) the group of each row, 0 to k - 1.
        centres: (k, f) means of the groups.
        silhouette: how well rows fit their group rather than the next one, -1 to 1.
    """

    labels: NDArray[np.int64]
    centres: Floats
    silhouette: float


def cluster(rows: Floats, counts: range = range(2, 7)) -> Clusters:
    """Groups of similar rows; their number is the one of `counts` with the largest silhouette.

    Args:
        rows: (n, f); there are no more groups than different rows.
        counts: numbers of groups to try; one alone fixes it.

    Source: Lloyd's algorithm from k-means++ starts (Arthur and Vassilvitskii 2007), the best of eight; silhouette
    after Rousseeuw 1987.
    """
    squares = _squared_distances(rows, rows)
    distances = np.sqrt(squares)
    found = []
    for count in counts:
        labels, centres = _k_means(rows, count)
        filled, labels = np.unique(labels, return_inverse=True)
        found.append(Clusters(labels, centres[filled], silhouette(distances, labels)))
    return max(found, key=lambda c: round(c.silhouette, 9))


def silhouette(distances: Floats, labels: NDArray[np.int64]) -> float:
    """Mean over the rows of (b - a) / max(a, b): a the mean distance within, b that to the nearest other group.

    Args:
        distances: (n, n).
        labels: (n,), every group from 0 up with a row in it; a row alone in its group counts 0, as one group does.
    """
    if labels.max() == 0:
        return 0.0
    members = np.eye(labels.max() + 1)[labels]
    sizes = members.sum(0)
    sums = distances @ members
    rows = np.arange(len(labels))
    own = sizes[labels]
    within = sums[rows, labels] / np.maximum(own - 1, 1)
    others = sums / sizes
    others[rows, labels] = np.inf
    nearest = others.min(1)
    width = np.maximum(np.maximum(within, nearest), np.finfo(float).tiny)
    return float(np.where(own > 1, (nearest - within) / width, 0).mean())


def _k_means(rows: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
    runs = [_lloyd(rows, _starts(rows, count, np.random.default_rng(seed))) for seed in range(RESTARTS)]
    spread = [((rows - centres[labels]) ** 2).sum() for labels, centres in runs]
    return runs[int(np.argmin(np.round(spread, 9)))]


def _starts(rows: Floats, count: int, random: np.random.Generator) -> Floats:
    """Rows far apart: each is drawn with a chance that grows with the square of its distance to those before."""
    chosen = [int(random.integers(len(rows)))]
    while len(chosen) < count:
        squares = _squared_distances(rows, rows[chosen]).min(1)
        chances = squares / squares.sum() if squares.sum() > 0 else np.full(len(rows), 1 / len(rows))
        chosen.append(int(np.searchsorted(chances.cumsum(), random.random()).clip(max=len(rows) - 1)))
    return rows[chosen]


def _lloyd(rows: Floats, centres: Floats) -> tuple[NDArray[np.int64], Floats]:
    labels = np.full(len(rows), -1)
    for _ in range(MOST_STEPS):
        squares = _squared_distances(rows, centres)
        new = squares.argmin(1)
        if (new == labels).all():
            break
        labels = new
        centres = np.stack([rows[labels == k].mean(0) if (labels == k).any() else c for k, c in enumerate(centres)])
    return labels, centres


def _squared_distances(a: Floats, b: Floats) -> Floats:
    """(n, m), without an array of all differences."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.maximum(squares, 0)
