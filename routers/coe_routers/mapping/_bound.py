"""How good a map over some of the experts can be at most: a Lagrangian bound, in numpy.

The demand that every category is answered once, and every limit, are priced instead of enforced. What is left
falls apart into one small decision for each expert: is it worth its prices? Any prices give a valid bound;
subgradient steps find good ones. At the best prices the bound is that of the linear relaxation with a link
for every cell, at a small part of its time, and a bound for a slightly different set of experts is a few
steps away. Source: Held, Wolfe and Crowder (1974) for the steps; the prices are the textbook's for p-median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._program import Floats

Bools = NDArray[np.bool_]

_MEMORY = 0.3
"""Part of the last direction that the next one keeps: damps zigzagging."""
_PATIENCE = 10
_SHRINK = 0.6
_SHORTEST = 0.02
"""Steps are cut by `_SHRINK` after `_PATIENCE` steps without gain, until the length falls below this."""
_GAIN = 1e-6


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid: float64[c] for answering each category, float64[a] and float64[p] for each limit."""

    category: Floats
    averaged: Floats
    pooled: Floats


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound and what it says of single decisions.

    Attributes:
        value: no map costs less.
        prices: that prove it.
        worth: float64[m], what the bound loses without an expert (positive) or by forcing it in (negative).
    """

    value: float
    prices: Prices
    worth: Floats


@dataclass(frozen=True, slots=True)
class Dense:
    """A program as matrices: cost float64[c, m] (infinite where unusable), usage float64[a, c, m] and sizes
    float64[p, m] in parts of the limits."""

    cost: Floats
    usage: Floats
    sizes: Floats

    def priced(self, prices: Prices) -> Floats:
        """Costs float64[c, m] with the averaged limits paid for."""
        if not len(self.usage):
            return self.cost
        return self.cost + np.tensordot(prices.averaged, self.usage, 1)

    def start(self) -> Prices:
        """Prices to begin with: each category pays for its second best expert."""
        two = np.sort(self.cost, axis=1)[:, :2]
        return Prices(
            np.where(np.isfinite(two[:, -1]), two[:, -1], two[:, 0]),
            np.zeros(len(self.usage)),
            np.zeros(len(self.sizes)),
        )


def lower_bound(dense: Dense, free: Bools, fixed: Bools, start: Prices, target: float, steps: int) -> Bound:
    """Bound on the cost of maps that pay for the experts `fixed` and may use those `free`, bool[m] each.

    Args:
        start: prices to improve.
        target: cost of the best map known; the search stops when the bound reaches it.
        steps: at most.
    """
    here = np.flatnonzero(free | fixed)
    cost, sizes, forced = dense.cost[:, here], dense.sizes[:, here], fixed[here]
    a, (c, m) = len(dense.usage), cost.shape
    usage = dense.usage[:, :, here].reshape(a, c * m)
    # Prices of limits stand against c prices of categories: their steps are longer by as much.
    scale = c / 2
    category, averaged, pooled = start.category, start.averaged, start.pooled
    best, best_worth, best_prices = -np.inf, np.zeros(m), start
    length, stalled = 1.0, 0
    along = [np.zeros(c), np.zeros(a), np.zeros(len(sizes))]
    for _ in range(steps):
        priced = cost + (averaged @ usage).reshape(c, m) if a else cost
        gain = category[:, None] - priced
        wanted = gain > 0
        worth = np.where(wanted, gain, 0.0).sum(axis=0) - pooled @ sizes
        used = forced | (worth > 0)
        value = float(category.sum() - averaged.sum() - pooled.sum() - worth[used].sum())
        if value > best + _GAIN or best == -np.inf:
            best, best_worth, best_prices = value, worth, Prices(category, averaged, pooled)
            stalled = 0
            if best >= target:
                break
        else:
            stalled += 1
            if stalled >= _PATIENCE:
                length, stalled = length * _SHRINK, 0
                if length < _SHORTEST:
                    break
                category, averaged, pooled = best_prices.category, best_prices.averaged, best_prices.pooled
                along = [np.zeros_like(each) for each in along]
                continue
        answered = wanted & used
        now = (1.0 - answered.sum(axis=1), usage @ answered.ravel() - 1.0, sizes @ used - 1.0)
        along = [each + _MEMORY * before for each, before in zip(now, along, strict=True)]
        norm = along[0] @ along[0] + scale * (along[1] @ along[1] + along[2] @ along[2])
        step = length * max(target - value, _GAIN) / max(float(norm), 1e-12)
        category = category + step * along[0]
        averaged = np.maximum(averaged + step * scale * along[1], 0.0)
        pooled = np.maximum(pooled + step * scale * along[2], 0.0)
    full = np.zeros(len(free))
    full[here] = best_worth
    return Bound(best, best_prices, full)
