"""Intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Z = 1.959964
_RESAMPLES = 2000


def wilson(scores: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean of scores in 0..1; wide, not empty, when all n are the same.

    Scores in between vary less than the 0s and 1s that it assumes: for them it errs on the wide side.
    """
    n, mean = len(scores), float(scores.mean()) if len(scores) else 0.0
    if not n:
        return 0.0, 1.0
    centre = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def paired_interval(differences: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of n paired differences."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    means = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return float(low), float(high)
