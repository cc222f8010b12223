"""Temperature, prediction sets and limits, all from predictions on prompts that were not trained on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from coe_routers.classifiers import Abstention, mass_before, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Classification

_TAIL = 0.01
_SURE = 0.05
"""Categories that are told apart without fault would set a limit that half a doubt exceeds."""
_COLDEST, _HOTTEST = 0.01, 100.0


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood of the labels.

    Args:
        logits: float32[n, c] of held-out rows.
        labels: int64[n], the column of each row.

    Source: Guo et al., arXiv 1706.04599. The likelihood has one minimum, found by golden section on a
    logarithmic scale.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.float32(np.exp(log_temperature)))
        return float(-np.log(np.maximum(probabilities[rows, labels], 1e-12)).mean())

    low, high = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def conformal_mass(probabilities: NDArray[np.float32], labels: NDArray[np.int64], coverage: float) -> float:
    """The `set_mass` with which prediction sets hold the true category of at least `coverage` of prompts.

    Split-conformal: for prompts exchangeable with these, whatever the classifier is worth, the coverage is at
    least that on average. 1 when there are too few of them to promise anything less.

    Args:
        probabilities: float32[n, c] of held-out prompts.
        labels: int64[n], the column of each.
        coverage: 0..1.

    Source: Vovk et al., Algorithmic Learning in a Random World; Romano et al., arXiv 2006.02544.
    """
    needed = np.sort(mass_before(probabilities)[np.arange(len(labels)), labels])
    rank = math.ceil((len(labels) + 1) * coverage - 1e-9)
    return float(needed[rank - 1]) if rank <= len(needed) else 1.0


def calibrate(
    found: Classification,
    labels: NDArray[np.int64],
    *,
    keep: float,
    coverage: float,
    apart: NDArray[np.bool_],
) -> Abstention:
    """The rule that keeps the share `keep` of prompts that belong to a category.

    Being far, and having too large a prediction set, take `_TAIL` of them each at most; the limit of
    uncertainty the rest.

    Args:
        found: what is said of n held-out prompts that belong to a category.
        labels: int64[n], the column of each.
        keep: share.
        coverage: of the prediction sets.
        apart: bool[n], prompts that had no part in the regions that distances are to.
    """
    rule = Abstention(
        uncertainty_limit=1.0,
        coverage=coverage,
        set_mass=conformal_mass(found.probabilities, labels, coverage),
    )
    most = int(np.quantile(rule.set_sizes(found.probabilities), 1 - _TAIL, method="higher"))
    distance = None if found.distance is None else _high(found.distance[apart], 1 - _TAIL)
    rule = replace(rule, set_limit=most, distance_limit=distance)
    kept = ~rule.general(found)
    share = min(1.0, keep * len(kept) / max(int(kept.sum()), 1))
    limit = uncertainty_limit(found.uncertainty[kept], share)
    return replace(rule, uncertainty_limit=max(limit, _SURE))


def _high(values: NDArray[np.float32], share: float) -> float:
    """What at most the rest of the values exceeds, to four decimals, rounded up."""
    return math.ceil(float(np.quantile(values, share, method="higher")) * 1e4) / 1e4


def uncertainty_limit(uncertainty: NDArray[np.float32], keep: float) -> float:
    """The limit that keeps the share `keep` of in-scope prompts: a quantile of held-out float32[n].

    Five digits: more would be noise, and would differ from machine to machine.
    """
    return float(f"{np.quantile(uncertainty, keep):.5g}")
