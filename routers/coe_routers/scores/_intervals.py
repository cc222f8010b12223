"""Bootstrap intervals of means and of paired differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CELLS = 4_000_000
"""Resampled values held at once; bounds the memory, not the result."""


def bootstrap_mean(
    values: NDArray[np.floating], *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of float[n] under resampling of prompts. NaN when n is 0."""
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        return float("nan"), float("nan")
    means = _means(data, seed, resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    left: NDArray[np.floating],
    right: NDArray[np.floating],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, tuple[float, float]]:
    """Mean of `left - right` and its interval, both float[n] on the same prompts.

    Rows where either is NaN are left out.
    """
    gap = np.asarray(left, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    gap = gap[np.isfinite(gap)]
    mean = float(gap.mean()) if len(gap) else float("nan")
    return mean, bootstrap_mean(gap, seed=seed, resamples=resamples, level=level)


def _means(data: Floats, seed: int, resamples: int) -> Floats:
    """float64[resamples] means. Few distinct values (scores are mostly 0 and 1) allow multinomial counts."""
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(data, return_counts=True)
    if len(distinct) <= 64:
        drawn = rng.multinomial(len(data), counts / len(data), size=resamples)
        return drawn @ distinct / len(data)
    means = np.empty(resamples)
    step = max(1, _CELLS // len(data))
    for start in range(0, resamples, step):
        part = means[start : start + step]
        part[:] = data[rng.integers(0, len(data), size=(len(part), len(data)))].mean(axis=1)
    return means
