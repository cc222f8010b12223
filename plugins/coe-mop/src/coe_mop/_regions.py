"""Regions of the input space: how many, which one an input belongs to, what is telling about each."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from coe_mop._kmeans import Clusters, clusterings, lloyd, squared_distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY_EXAMPLES = 7.2
"""What one more region costs: the scatter of so many average examples. For 360 examples that is the published
penalty of 0.02 of the whole scatter; fewer examples carry fewer regions, more carry more."""
MOST_REGIONS = 64
_ONE_NORMAL = 2 / math.pi
"""Share of its scatter that a normal distribution along a line loses when it is cut in the middle; in more
dimensions it loses less."""
_SAMPLE = 3000
_WORD = re.compile(r"[^\W_]{2,}|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Choice:
    """How the number of regions was chosen.

    Attributes:
        clusters: the regions.
        curve: (k, scatter left, score) of every k tried; the least score was taken.
        penalty: of one region, as part of the whole scatter.
        split: regions more than that, because some were two.
    """

    clusters: Clusters
    curve: tuple[tuple[int, float, float], ...]
    penalty: float
    split: int = 0


@dataclass(frozen=True, slots=True)
class Routed:
    """Where n inputs belong.

    Attributes:
        region: int64[n], nearest centroid.
        distance: float32[n], to it.
        margin: float32[n] in 0..1: 1 - nearest / second nearest distance; 1 when there is one region only.
    """

    region: NDArray[np.int64]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]


def choose_regions(
    points: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    fixed: int | None = None,
    penalty_examples: float = PENALTY_EXAMPLES,
    most: int = MOST_REGIONS,
) -> Choice:
    """Cluster the points; k by scaled inertia: the least `inertia_k / inertia_1 + penalty * k`.

    A region that is plainly two is then cut, however near the two are: tasks of one template make
    much less scatter than the rest, and the curve does not see them.

    Args:
        points: float32[n, dim], n at least 1; of more than 3,000 an even sample is clustered.
        rng: seeds the starts.
        fixed: this many regions instead (fewer when there are not as many different points), none cut.
        penalty_examples: see `PENALTY_EXAMPLES`; no cut leaves fewer in a part.
        most: regions at most.

    Source: arXiv 2407.00256 (K-auto), with a penalty that knows how many examples there are.
    """
    picked = np.linspace(0, len(points) - 1, min(len(points), _SAMPLE)).astype(int)
    sample = points[picked]
    penalty = penalty_examples / len(sample)
    limit = min(most, len(sample)) if fixed is None else min(fixed, len(sample))
    best: tuple[float, Clusters] | None = None
    curve: list[tuple[int, float, float]] = []
    whole = 0.0
    for clusters in clusterings(sample, limit, rng):
        whole = whole or clusters.inertia or 1.0
        left = clusters.inertia / whole
        score = left + penalty * clusters.k
        curve.append((clusters.k, left, score))
        if best is None or fixed is not None or score < best[0]:
            best = score, clusters
        if fixed is None and penalty * (clusters.k + 1) >= best[0]:
            break  # more regions cost more than could be left to gain
    if best is None:
        raise ValueError("there are no points to cluster")
    chosen = best[1]
    if fixed is None:
        chosen = _cut_doubles(sample, chosen, rng, max(math.ceil(penalty_examples), 2), most)
    return Choice(chosen, tuple(curve), penalty, chosen.k - best[1].k)


def _cut_doubles(
    points: NDArray[np.float32], clusters: Clusters, rng: np.random.Generator, least: int, most: int
) -> Clusters:
    """Cut regions in two, and their parts, while that takes off more scatter than if it were one heap."""
    open_ = [np.flatnonzero(clusters.labels == region) for region in range(clusters.k)]
    done: list[NDArray[np.int64]] = []
    while open_:
        own = open_.pop(0)
        parts = halved(points[own], rng, least) if len(open_) + len(done) + 1 < most else None
        if parts is None:
            done.append(own)
        else:
            open_ += [own[~parts], own[parts]]
    if len(done) == clusters.k:
        return clusters
    return lloyd(points, np.stack([points[own].mean(axis=0) for own in done]))


def halved(points: NDArray[np.float32], rng: np.random.Generator, least: int) -> NDArray[np.bool_] | None:
    """Cut points in two, each part with `least` or more: bool[n], True for the second part.

    None where that takes off no more scatter than if all were one heap (see `_ONE_NORMAL`).
    """
    if len(points) < 2 * least:
        return None
    *_, two = clusterings(points, 2, rng)
    whole = float(((points - points.mean(axis=0)) ** 2).sum(dtype=np.float64))
    second = two.labels == 1
    if min(int(second.sum()), int((~second).sum())) < least or whole - two.inertia <= _ONE_NORMAL * whole:
        return None
    return second


def route(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> Routed:
    """The nearest region of each point.

    Args:
        points: float32[n, dim].
        centroids: float32[k, dim], k at least 1.
    """
    distances = np.sqrt(squared_distances(points, centroids))
    region = distances.argmin(axis=1)
    nearest = distances[np.arange(len(points)), region]
    if len(centroids) == 1:
        return Routed(region, nearest, np.ones(len(points), np.float32))
    second = np.partition(distances, 1, axis=1)[:, 1]
    margin = 1 - nearest / np.maximum(second, np.float32(1e-9))
    return Routed(region, nearest, np.clip(margin, 0, 1).astype(np.float32))


def telling_terms(
    texts: Sequence[str], labels: NDArray[np.int64], k: int, most: int = 6
) -> list[tuple[str, ...]]:
    """Words and signs that are common in a region and rare elsewhere, most telling first."""
    sizes = [max(int((labels == region).sum()), 1) for region in range(k)]
    inside: list[Counter[str]] = [Counter[str]() for _ in range(k)]
    for text, region in zip(texts, labels, strict=True):
        words: set[str] = set(_WORD.findall(text.lower()))
        inside[int(region)].update(words)
    total: Counter[str] = Counter()
    for each in inside:
        total.update(each)
    found: list[tuple[str, ...]] = []
    for own, size in zip(inside, sizes, strict=True):
        rest = max(len(texts) - size, 1)
        weights = {
            term: count / size * math.log((count / size + 0.01) / ((total[term] - count) / rest + 0.01))
            for term, count in own.items()
        }
        ranked = sorted((term for term in weights if weights[term] > 0), key=lambda t: (-weights[t], t))
        found.append(tuple(ranked[:most]))
    return found


def pick_near(
    points: NDArray[np.float32], centre: NDArray[np.float32], candidates: NDArray[np.int64], count: int
) -> list[int]:
    """The `count` of the candidates that lie nearest to the centre, nearest first; ties by position."""
    distances = squared_distances(points[candidates], centre[None, :])[:, 0]
    return candidates[np.argsort(distances, kind="stable")[:count]].tolist()


DemoOrder = Literal["diverse", "closest", "random"]


def pick_demos(
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    centroids: NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
    how: DemoOrder = "diverse",
) -> list[tuple[int, ...]]:
    """Demonstrations of every region: exactly min(`count`, n) different examples each.

    A region with fewer takes the nearest ones of other regions besides: all prompts are equally long. The
    example nearest to the centroid comes last, beside the question.

    Args:
        points, labels: float32[n, dim] and int64[n] of the examples that may be shown.
        centroids: float32[k, dim].
        count: demonstrations per region.
        rng: for `diverse` and `random`.
        how: `diverse`: nearest to each centroid of `count` clusters within the region; `closest`: nearest to
            the region's centroid; `random`: drawn from the region.
    """
    count = min(count, len(points))
    everything = np.arange(len(points))
    shown: list[tuple[int, ...]] = []
    for region, centre in enumerate(centroids):
        own = everything[labels == region]
        chosen = _within(points, own, centre, count, rng, how) if len(own) and count else []
        rest = np.setdiff1d(everything, own)
        chosen += pick_near(points, centre, rest, count - len(chosen)) if len(rest) else []
        distances = squared_distances(points[chosen], centre[None, :])[:, 0]
        farthest_first: list[int] = np.argsort(-distances, kind="stable").tolist()
        shown.append(tuple(chosen[at] for at in farthest_first))
    return shown


def _within(
    points: NDArray[np.float32],
    own: NDArray[np.int64],
    centre: NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
    how: DemoOrder,
) -> list[int]:
    if len(own) <= count or how == "closest":
        return pick_near(points, centre, own, count)
    if how == "random":
        return rng.permutation(own)[:count].tolist()
    return spread_out(points, own, count, rng)


def spread_out(
    points: NDArray[np.float32], candidates: NDArray[np.int64], count: int, rng: np.random.Generator
) -> list[int]:
    """One candidate nearest to each centroid of `count` clusters of them, filled up by the nearest to all."""
    *_, clusters = clusterings(points[candidates], count, rng, restarts=1)
    chosen: list[int] = []
    for centre in clusters.centroids:
        free = candidates[~np.isin(candidates, chosen)]
        chosen += pick_near(points, centre, free, 1)
    free = candidates[~np.isin(candidates, chosen)]
    return chosen + pick_near(points, points[candidates].mean(axis=0), free, count - len(chosen))
