"""How good a map over some of the cells can be at most: a Lagrangian bound, in numpy.

The demand that every category is answered once, and every limit, are priced instead of enforced. What is left
falls apart into one small decision for each expert: is it worth its prices? Any prices give a valid bound;
subgradient steps find good ones. At the best prices the bound is that of the linear relaxation with a link
for every cell, at a small part of its time, and a bound for a slightly different set of cells is a few
steps away. Source: Held, Wolfe and Crowder (1974) for the steps; the prices are the textbook's for p-median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._program import Floats, Index, Program

Bools = NDArray[np.bool_]

_MEMORY = 0.7
"""Part of the last direction that the next one keeps: damps zigzagging."""
_LONGEST = 2.0
_PATIENCE = 20
_SHRINK = 0.7
_SHORTEST = 0.005
"""Steps start at twice the length that would reach the target were the bound linear, and are cut by `_SHRINK`
after `_PATIENCE` steps without gain, until the length falls below this."""
_GAIN = 1e-7
_RECENT = 0.05
"""Weight of the last step in the mean of what was used."""


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
        part: float64[m], how much of the last steps used each expert: near the relaxation's solution.
    """

    value: float
    prices: Prices
    worth: Floats
    part: Floats


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of a program with what bounds need of them.

    Attributes:
        row, column: int64[k].
        cost: float64[k], what is minimised.
        usage: float64[a, k], part of each averaged limit.
        sizes: float64[p, m], part of each pooled limit that each expert uses.
        c: how many categories.
    """

    row: Index
    column: Index
    cost: Floats
    usage: Floats
    sizes: Floats
    c: int

    @classmethod
    def all_of(cls, made: Program, objective: Floats) -> Cells:
        """Every cell of a program."""
        return cls(made.row, made.column, objective, made.usage(), made.sizes(), made.c)

    def of(self, places: Index) -> Cells:
        """Those at these places only."""
        return Cells(
            self.row[places],
            self.column[places],
            self.cost[places],
            self.usage[:, places],
            self.sizes,
            self.c,
        )

    def priced(self, averaged: Floats) -> Floats:
        """Costs float64[k] with the averaged limits paid for."""
        return self.cost + averaged @ self.usage if averaged.any() else self.cost

    def excess(self, bound: Bound, fixed: Bools) -> Floats:
        """float64[k], by how much a map that takes a cell is above the bound, at least."""
        over = np.maximum(self.priced(bound.prices.averaged) - bound.prices.category[self.row], 0.0)
        return over + np.where(fixed, 0.0, np.maximum(-bound.worth, 0.0))[self.column]


def lower_bound(cells: Cells, free: Bools, fixed: Bools, start: Prices, target: float, steps: int) -> Bound:
    """Bound on the cost of maps over these cells that pay for the experts `fixed` and may use those `free`.

    Args:
        cells: of these experts only, at least one in each category.
        free, fixed: bool[m].
        start: prices to improve.
        target: cost of the best map known; the search stops when the bound reaches it.
        steps: at most.
    """
    row, column, usage, sizes, c = cells.row, cells.column, cells.usage, cells.sizes, cells.c
    m = len(free)
    # Prices of limits stand against c prices of categories: their steps are longer by as much.
    scale = c / 2
    category, averaged, pooled = start.category, start.averaged, start.pooled
    best, best_worth, best_prices = -np.inf, np.zeros(m), start
    part = np.zeros(m)
    length, stalled = _LONGEST, 0
    along = (np.zeros(c), np.zeros(len(usage)), np.zeros(len(sizes)))
    for _ in range(steps):
        gain = category[row]
        gain -= cells.priced(averaged)
        wanted = gain > 0
        gain *= wanted
        worth = np.bincount(column, gain, m) - pooled @ sizes
        used = fixed | (free & (worth > 0))
        part += _RECENT * (used - part)
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
                along = (np.zeros(c), np.zeros(len(usage)), np.zeros(len(sizes)))
                continue
        answered = np.flatnonzero(wanted & used[column])
        along = (
            _MEMORY * along[0] + 1.0 - np.bincount(row[answered], minlength=c),
            _MEMORY * along[1] + usage[:, answered].sum(axis=1) - 1.0,
            _MEMORY * along[2] + sizes @ used - 1.0,
        )
        norm = along[0] @ along[0] + scale * (along[1] @ along[1] + along[2] @ along[2])
        step = length * max(target - value, _GAIN) / max(float(norm), 1e-12)
        category = category + step * along[0]
        averaged = np.maximum(averaged + step * scale * along[1], 0.0)
        pooled = np.maximum(pooled + step * scale * along[2], 0.0)
    return Bound(best, best_prices, best_worth, part)
