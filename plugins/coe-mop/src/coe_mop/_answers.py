"""What answers tell about regions: where two kinds of answer are wanted, there are two tasks.

Sentences to be negated and sentences to be judged look alike. Their answers do not. A region is cut where its
answers are plainly of two kinds *and* its inputs tell which: requests are routed by their input alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from coe_mop._examples import Example
from coe_mop._regions import MOST_REGIONS, halved, route
from coe_mop._space import shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 8
_TOLD = 0.65
"""Share of inputs whose kind of answer must be told by the nearer mean; half is chance."""
_DIFFERENT = 0.5
"""Share of different answers that one kind must have: `yes` and `no` are two answers, not two tasks."""


def cut_by_answers(
    points: NDArray[np.float32],
    centroids: NDArray[np.float32],
    examples: Sequence[Example],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Centroids float32[k or more, dim], every one with at least one point nearest to it.

    Args:
        points: float32[n, dim], where the examples' inputs lie.
        centroids: float32[k, dim], of the regions so far.
        examples: n.
        rng: seeds the starts.
    """
    labels = route(points, centroids).region
    found: list[NDArray[np.float32]] = []
    for region, centre in enumerate(centroids):
        own = np.flatnonzero(labels == region)
        room = len(found) + len(centroids) - region < MOST_REGIONS
        second = _two_kinds(points[own], [examples[at] for at in own.tolist()], rng) if room else None
        if second is None:
            found.append(centre)
        else:
            found += [points[own[~second]].mean(axis=0), points[own[second]].mean(axis=0)]
    cut = np.stack(found)
    return cut if len(np.unique(route(points, cut).region)) == len(cut) else centroids


def _two_kinds(
    points: NDArray[np.float32], examples: Sequence[Example], rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """bool[n], True for the second kind; None if there are no two, or inputs do not tell them apart."""
    if len(examples) < 2 * _LEAST:
        return None
    facts = _facts(examples)
    facts = np.clip((facts - facts.mean(axis=0)) / (facts.std(axis=0) + np.float32(0.05)), -3, 3)
    second = halved(facts, rng, _LEAST)
    if second is None or _told(points, second) < _TOLD:
        return None
    different = (
        len({example.output for example, other in zip(examples, second, strict=True) if other == kind})
        / int((second == kind).sum())
        for kind in (False, True)
    )
    return second if max(different) >= _DIFFERENT else None


def _facts(examples: Sequence[Example]) -> NDArray[np.float32]:
    """float32[n, 16]: the shape of the answer, its length beside the input's, and the words it takes over."""
    relations: list[tuple[float, float]] = []
    for example in examples:
        words = set(example.output.lower().split())
        taken = len(words & set(example.input.lower().split())) / max(len(words), 1)
        relations.append((math.log(max(len(example.output), 1) / max(len(example.input), 1)), taken))
    return np.hstack([shapes([example.output for example in examples]), np.array(relations, np.float32)])


def _told(points: NDArray[np.float32], second: NDArray[np.bool_]) -> float:
    """How often the nearer mean is the right one, each point left out of its own; mean of both kinds."""
    shares: list[float] = []
    for kind in (False, True):
        own, other = points[second == kind], points[second != kind].mean(axis=0)
        without = (own.sum(axis=0) - own) / (len(own) - 1)
        nearer = ((own - without) ** 2).sum(axis=1) < ((own - other) ** 2).sum(axis=1)
        shares.append(float(nearer.mean()))
    return sum(shares) / 2
