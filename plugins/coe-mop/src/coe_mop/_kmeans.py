"""k-means on small dense points: seeded, no empty cluster, and a variant with clusters of equal size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_ROUNDS = 30
_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Clusters:
    """A clustering.

    Attributes:
        centroids: float32[k, dim].
        labels: int64[n], the nearest centroid of each point; every centroid has a point.
        inertia: sum of squared distances of points to their centroids.
    """

    centroids: NDArray[np.float32]
    labels: NDArray[np.int64]
    inertia: float

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def squared_distances(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n, k]: of each point to each centroid."""
    cross = points @ centroids.T
    found = (points**2).sum(axis=1)[:, None] - 2 * cross + (centroids**2).sum(axis=1)[None, :]
    return np.maximum(found, 0)


def clusterings(
    points: NDArray[np.float32], most: int, rng: np.random.Generator, restarts: int = 2
) -> Iterator[Clusters]:
    """The clustering into 1, 2, … `most` clusters, one after the other; fewer when points repeat.

    Each is the best of: the one before with one more centroid, and `restarts` fresh starts by k-means++.
    Growing from the one before keeps the inertia falling with k, so that its curve can be read.

    Args:
        points: float32[n, dim], n at least 1.
    """
    current = lloyd(points, points.mean(axis=0, keepdims=True))
    yield current
    while current.k < most:
        if not squared_distances(points, current.centroids).min(axis=1).max() > 0:
            return  # fewer different points than clusters asked for
        k = current.k + 1
        starts = [np.vstack([current.centroids, _next(points, current.centroids, rng)])]
        starts += [_spread(points, k, rng) for _ in range(restarts)]
        fits = [fit for start in starts if (fit := lloyd(points, start)).k == k]
        if not fits:
            return
        current = min(fits, key=lambda fit: fit.inertia)
        yield current


def lloyd(points: NDArray[np.float32], start: NDArray[np.float32]) -> Clusters:
    """Lloyd's algorithm from the given centroids; a centroid that loses all its points is dropped."""
    centroids = start.astype(np.float32)
    labels = np.full(len(points), -1, np.int64)
    for _ in range(_ROUNDS):
        found = squared_distances(points, centroids).argmin(axis=1)
        if np.array_equal(found, labels):
            break
        kept, labels = np.unique(found, return_inverse=True)
        members = (labels[:, None] == np.arange(len(kept))).astype(np.float32)
        centroids = (members.T @ points) / members.sum(axis=0)[:, None]
    distances = squared_distances(points, centroids)
    labels = distances.argmin(axis=1)
    if len(np.unique(labels)) < len(centroids):
        return lloyd(points, centroids[np.unique(labels)])
    return Clusters(centroids, labels, float(distances.min(axis=1).sum(dtype=np.float64)))


def halves(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Two clusters of equal size (give or take one): bool[n], True for the second.

    Each round sorts points by how much nearer the second centroid is, and cuts in the middle.
    """
    centroids = _spread(points, min(2, len(points)), rng)
    second = np.zeros(len(points), np.bool_)
    if len(centroids) < 2:
        return second
    for _ in range(_ROUNDS):
        distances = squared_distances(points, centroids)
        order = np.argsort(distances[:, 1] - distances[:, 0], kind="stable")
        found = np.zeros(len(points), np.bool_)
        found[order[: len(points) // 2]] = True
        if np.array_equal(found, second):
            break
        second = found
        centroids = np.stack([points[~second].mean(axis=0), points[second].mean(axis=0)])
    return second


def _spread(points: NDArray[np.float32], k: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """k-means++: far-apart points; fewer than k when points repeat."""
    chosen = points[[int(rng.integers(len(points)))]]
    while len(chosen) < k:
        if not squared_distances(points, chosen).min(axis=1).max() > 0:
            break
        chosen = np.vstack([chosen, _next(points, chosen, rng)])
    return chosen


def _next(
    points: NDArray[np.float32], centroids: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """float32[1, dim]: of some points drawn by squared distance, the one that takes off most inertia."""
    nearest = squared_distances(points, centroids).min(axis=1).astype(np.float64)
    drawn = rng.choice(len(points), size=_CANDIDATES, p=nearest / nearest.sum())
    left = np.minimum(nearest[:, None], squared_distances(points, points[drawn])).sum(axis=0)
    return points[[int(drawn[left.argmin()])]]
