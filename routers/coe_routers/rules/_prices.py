"""Prices that make prompts which each take their best expert respect averaged limits together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe_routers._extras import library

Floats = NDArray[np.float64]
_ROUNDS = 60
_TOP_PRICE = 1e3
"""No limit is worth more than a thousand times the whole range of scores per unit of itself."""


def prices(worth: Floats, spending: Sequence[Floats], limits: Sequence[float]) -> Floats | None:
    """Lagrange multipliers of `mean(spending) <= limit` when each prompt takes its best expert.

    The dual, `mean_i max_e (worth - sum_j price_j * spending_j / limit_j) + sum_j price_j`, is convex and has
    one dimension for each limit; Kelley's cutting planes minimise it. Prompts that tie at the optimum may
    still overspend together, so prices are raised until the limits hold on the given prompts.

    Args:
        worth: float64[n, m], -inf where an expert is not allowed.
        spending: for each limit float64[n, m].
        limits: the limits, in the unit of their spending.

    Returns:
        float64[j], score given up per unit of `spending / limit`; None when no price meets the limits.

    Raises:
        PluginError: scipy is not installed.
    """
    scaled = np.stack([each / limit for each, limit in zip(spending, limits, strict=True)], axis=2)
    if _spends(worth, scaled, np.zeros(len(limits))).max() <= 1.0:
        return np.zeros(len(limits))
    best = _dual_optimum(worth, scaled)
    low, high = 1.0, 1.0
    start = np.maximum(best, 1e-6)
    while _spends(worth, scaled, start * high).max() > 1.0:
        low, high = high, high * 1.5
        if high > 1e6:
            return None
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if _spends(worth, scaled, start * middle).max() <= 1.0 else (middle, high)
    return start * high


def _spends(worth: Floats, scaled: Floats, price: Floats) -> Floats:
    picked = (worth - scaled @ price).argmax(axis=1)
    return scaled[np.arange(len(worth)), picked].mean(axis=0)


def _dual_optimum(worth: Floats, scaled: Floats) -> Floats:
    optimize: Any = library("scipy.optimize", "train")
    j = scaled.shape[2]
    rows = np.arange(len(worth))
    cuts: list[Floats] = []
    offsets: list[float] = []
    price = np.zeros(j)
    for _ in range(_ROUNDS):
        net = worth - scaled @ price
        picked = net.argmax(axis=1)
        slope = 1.0 - scaled[rows, picked].mean(axis=0)
        value = float(net[rows, picked].mean() + price.sum())
        cuts.append(np.append(slope, -1.0))
        offsets.append(float(slope @ price) - value)
        found = optimize.linprog(
            np.append(np.zeros(j), 1.0),
            A_ub=np.array(cuts),
            b_ub=np.array(offsets),
            bounds=[(0.0, _TOP_PRICE)] * j + [(None, None)],
        )
        if found.x is None or value - float(found.fun) < 1e-6:
            break
        price = np.asarray(found.x[:j], dtype=np.float64)
    return price
