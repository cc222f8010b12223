"""How good a classifier is, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of rows whose most probable column (of float32[n, c]) is the label (int64[n])."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def macro_f1(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean F1 over the categories that occur among labels or predictions."""
    predicted = probabilities.argmax(axis=1)
    scores: list[float] = []
    for category in np.union1d(predicted, labels):
        both = int(((predicted == category) & (labels == category)).sum())
        either = int((predicted == category).sum()) + int((labels == category).sum())
        scores.append(2 * both / either)
    return float(np.mean(scores))


def expected_calibration_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of the largest probability.

    Source: Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = 0.0
    for place in np.unique(places):
        inside = places == place
        gap += float(inside.mean()) * abs(float(confidence[inside].mean()) - float(right[inside].mean()))
    return gap


def auroc(inside: NDArray[np.float32], outside: NDArray[np.float32]) -> float:
    """Chance that a value of `outside` (float32[m]) exceeds one of `inside` (float32[n]); ties half."""
    values = np.concatenate([inside, outside])
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    outside_ranks = float(ranks[len(inside) :].sum())
    return (outside_ranks - len(outside) * (len(outside) + 1) / 2) / (len(inside) * len(outside))
