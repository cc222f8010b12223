"""The integer program of a map: binary z over usable cells, tied together by limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._problem import SLOW_SHARE, Budget, Problem

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

AVERAGED = ("active_params_b", "usd_per_1k", "p95_latency_s")
"""Limits on an average over the traffic."""
POOLED = ("total_params_b", "max_experts")
"""Limits on the set of experts in use."""

ROUNDING = 1e-9
"""Relative: sums of sizes may come out this much above a limit that they meet."""


@dataclass(frozen=True, slots=True)
class Program:
    """Binary z over the usable cells and, when the set of experts is limited, binary u over experts.

    Attributes:
        row, column: int64[k], category and expert of each cell variable, sorted by category.
        weight: float64[k], share of the cell's category.
        average: name to (float64[k], limit): `sum(weight * cost * z) <= limit`.
        pooled: name to (float64[m], limit): `sum(size * u) <= limit`, with `z <= u`.
        c, m: how many categories and experts.
    """

    row: Index
    column: Index
    weight: Floats
    average: dict[str, tuple[Floats, float]]
    pooled: dict[str, tuple[Floats, float]]
    c: int
    m: int

    def of(self, cells: Index) -> Program:
        """The program over these cell variables only."""
        return replace(
            self,
            row=self.row[cells],
            column=self.column[cells],
            weight=self.weight[cells],
            average={name: (cost[cells], most) for name, (cost, most) in self.average.items()},
        )

    def within(self, experts: list[int]) -> Index:
        """int64[k], the cell variables of these experts."""
        return np.flatnonzero(np.isin(self.column, experts))

    def every_category(self) -> bool:
        """Whether each category has a cell."""
        return len(np.unique(self.row)) == self.c

    def table(self, values: Floats, missing: float) -> Floats:
        """float64[c, m] of values float64[k], `missing` where there is no cell."""
        made = np.full((self.c, self.m), missing)
        made[self.row, self.column] = values
        return made

    def usage(self) -> Floats:
        """float64[a, k], part of each averaged limit that each cell uses."""
        used = [self.weight * cost / most for cost, most in self.average.values()]
        return np.stack(used) if used else np.zeros((0, len(self.row)))

    def sizes(self) -> Floats:
        """float64[p, m], part of each pooled limit that each expert uses."""
        used = [size / most for size, most in self.pooled.values()]
        return np.stack(used) if used else np.zeros((0, self.m))


def program(problem: Problem, budget: Budget) -> tuple[Program, dict[str, tuple[str, ...]]]:
    """Build the program; the second part names experts left out because a limited fact is unknown."""
    usable = problem.restricted(budget)
    limits = budget.limits()
    costs = {name: problem.spending(name, limits[name]) for name in AVERAGED if name in limits}
    sizes: dict[str, Floats] = {}
    if "total_params_b" in limits:
        sizes["total_params_b"] = problem.total_params_b
    if "max_experts" in limits:
        sizes["max_experts"] = np.ones(len(problem.experts))
    unknown: dict[str, tuple[str, ...]] = {}
    for name, known in {**costs, **sizes}.items():
        gone = usable & ~np.isfinite(np.broadcast_to(known, usable.shape))
        unknown[name] = tuple(problem.experts[e] for e in np.flatnonzero(gone.any(axis=0)))
        usable &= ~gone
    row, column = np.nonzero(usable)
    built = Program(
        row=row,
        column=column,
        weight=problem.share[row],
        average={
            name: (cost[row, column], SLOW_SHARE if name == "p95_latency_s" else limits[name])
            for name, cost in costs.items()
        },
        pooled={name: (np.nan_to_num(size), limits[name]) for name, size in sizes.items()},
        c=len(problem.categories),
        m=len(problem.experts),
    )
    return built, {name: names for name, names in unknown.items() if names}


def first_of_rows(row: Index, objective: Floats) -> Index:
    """The variable of lowest objective in each category, the first on a tie: int64[c]."""
    order = np.lexsort((objective, row))
    _, first = np.unique(row[order], return_index=True)
    return order[first]
