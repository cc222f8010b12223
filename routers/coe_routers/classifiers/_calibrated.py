"""Logits to calibrated probabilities and uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from coe.contracts import Classification
from coe_routers._compiled import NATIVE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[n, c]; rows sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def classification(
    logits: NDArray[np.float32], categories: int, temperature: float, evidence: NDArray[np.bool_]
) -> Classification:
    """Calibrated probabilities, and their entropy: from 0, one category has all, to 1, all have the same.

    Entropy of calibrated probabilities told unknown from known prompts better than the largest probability
    in nearly every comparison made.

    Args:
        logits: float32[n, categories], or one column more: the last one then speaks for no category at all,
            and its probability is shared equally by the others, so that it makes the row uncertain.
        categories: how many there are.
        temperature: what logits are divided by.
        evidence: bool[n]; rows without get equal probabilities and uncertainty 1.
    """
    if NATIVE is None:
        return classification_in_python(logits, categories, temperature, evidence)
    rows, columns = logits.shape
    probabilities, uncertainty = NATIVE.calibrate(
        np.ascontiguousarray(logits, np.float32), evidence, columns, categories, temperature
    )
    return Classification(
        np.frombuffer(probabilities, np.float32).reshape(rows, categories),
        np.frombuffer(uncertainty, np.float32),
    )


def classification_in_python(
    logits: NDArray[np.float32], categories: int, temperature: float, evidence: NDArray[np.bool_]
) -> Classification:
    """`classification` where nothing is compiled."""
    unknown = [1 / categories] * categories, 1.0
    known: list[bool] = evidence.tolist()
    rows = [
        _calibrated(row, categories, temperature) if known[place] else unknown
        for place, row in enumerate(logits.tolist())
    ]
    probabilities = np.array([each for each, _ in rows], np.float32).reshape(len(rows), categories)
    return Classification(probabilities, np.array([each for _, each in rows], np.float32))


def _calibrated(row: Sequence[float], categories: int, temperature: float) -> tuple[list[float], float]:
    """Probabilities and normalised entropy of one row; a dozen numbers cost less in Python than in numpy."""
    top = max(row)
    weights = [math.exp((logit - top) / temperature) for logit in row]
    total = sum(weights)
    shared = sum(weights[categories:]) / categories
    probabilities = [(weight + shared) / total for weight in weights[:categories]]
    if categories < 2:
        return probabilities, 0.0
    entropy = -sum([p * math.log(p) for p in probabilities if p > 0])
    return probabilities, min(1.0, entropy / math.log(categories))
