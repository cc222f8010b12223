"""Which prompt (or expert) for which region, from recorded scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRIOR = 4.0
"""A region's mean is pulled to the option's mean over all regions as if by so many further items."""


def choose_per_region(
    scores: NDArray[np.float64],
    region: NDArray[np.int64],
    regions: int,
    *,
    cost: NDArray[np.float64] | None = None,
    tolerance: float = 0.0,
    prior: float = PRIOR,
) -> NDArray[np.int64]:
    """The best option of each region; of those within `tolerance` of it, the cheapest.

    What is shrunk is each option's lead over the item's mean, because items differ more than options do.

    Args:
        scores: float64[n, m] in 0..1: item n under option m; NaN where it was not tried.
        region: int64[n] in 0..`regions` - 1.
        cost: float64[m], any unit; ties go to the first option without it.
        tolerance: score that may be given up for a cheaper option.
        prior: see `PRIOR`.

    Returns:
        int64[regions]: an option for each; a region without items gets the best one overall.
    """
    tried = ~np.isnan(scores)
    lead = np.where(tried, scores - np.nanmean(scores, axis=1, keepdims=True), 0.0)
    overall = lead.sum(axis=0) / np.maximum(tried.sum(axis=0), 1)
    options = scores.shape[1]
    order = sorted(range(options), key=lambda option: 0.0 if cost is None else float(cost[option]))
    chosen = np.zeros(regions, np.int64)
    for each in range(regions):
        own = region == each
        mean = (lead[own].sum(axis=0) + prior * overall) / (tried[own].sum(axis=0) + prior)
        good = mean >= mean.max() - tolerance - 1e-12
        chosen[each] = next(option for option in order if good[option])
    return chosen
