"""What a map is solved from: values, resources, budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LIMITS = ("active_params_b", "total_params_b", "usd_per_1k", "p95_latency_s", "max_experts")
"""Fields of `Budget` that are one number, in the order in which they are reported."""

SLOW_SHARE = 0.05
"""What a 95th percentile leaves above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the map must respect; None and empty mean no limit.

    Attributes:
        active_params_b: average active parameters per prompt, billions.
        total_params_b: parameters of all experts in use together, billions.
        usd_per_1k: USD per 1,000 requests, on average.
        p95_latency_s: 95th percentile of the latency over all requests together, seconds. A mix of experts
            meets it exactly when at most 5% of all requests are slower, which is a sum over categories, so
            a fast category may make up for a slow one.
        max_experts: experts in use.
        required: category to the expert that must answer it.
        forbidden: category to experts that must not answer it; the key `*` stands for every category.
        nodes: branches after which the solver gives up and returns the best map so far with its gap.
    """

    active_params_b: float | None = None
    total_params_b: float | None = None
    usd_per_1k: float | None = None
    p95_latency_s: float | None = None
    max_experts: int | None = None
    required: Mapping[str, str] = field(default_factory=dict[str, str])
    forbidden: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    nodes: int = 5000

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            if not limit > 0:
                raise ConfigError(f"Budget `{name}` is {limit:g}; expected a number above 0.")
        if self.nodes < 1:
            raise ConfigError(f"`nodes` is {self.nodes}; expected 1 or more.")

    def limits(self) -> dict[str, float]:
        """The numbers that are set, by name."""
        found = {name: getattr(self, name) for name in LIMITS}
        return {name: float(limit) for name, limit in found.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Latency:
    """Recorded latencies.

    Attributes:
        seconds: float32[n, m], NaN where not recorded.
        category: int[n], index of each row's category.
    """

    seconds: NDArray[np.float32]
    category: NDArray[np.integer]

    def slower_than(self, limit_s: float, c: int) -> Floats:
        """Share of each cell's requests that took longer, float64[c, m]; NaN where none is recorded."""
        seen = np.isfinite(self.seconds)
        slow = seen & (self.seconds > limit_s)
        cells = [
            np.stack([np.bincount(self.category, weights=column, minlength=c) for column in flags.T], axis=1)
            for flags in (slow, seen)
        ]
        return np.where(cells[1] > 0, cells[0] / np.maximum(cells[1], 1.0), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One instance: c categories, m experts.

    Attributes:
        categories, experts: their names.
        share: float64[c], part of the traffic, summing to 1.
        value: float64[c, m], what is maximised (a `ScoreTable.value`, or a cautious one).
        allowed: bool[c, m], cells that may be chosen: those with evidence.
        active_params_b, total_params_b: float64[m], NaN where unknown.
        usd_per_1k: float64[c, m], mean cost of 1,000 requests of the cell, NaN where unknown.
        latency: recorded latencies, None when there are none.
        tie_cost: float64[c, m], what decides between maps of equal value, lower is better; any unit.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    share: Floats
    value: Floats
    allowed: Bools
    active_params_b: Floats
    total_params_b: Floats
    usd_per_1k: Floats
    latency: Latency | None = None
    tie_cost: Floats

    def without(self, expert: int) -> Problem:
        """The same instance with one expert switched off."""
        allowed = self.allowed.copy()
        allowed[:, expert] = False
        return replace(self, allowed=allowed)

    def valued(self, value: Floats) -> Problem:
        """The same instance with other values, float64[c, m]."""
        return replace(self, value=value)

    def restricted(self, budget: Budget) -> Bools:
        """bool[c, m]: allowed cells that the budget's required and forbidden experts leave.

        Raises:
            ConfigError: the budget names an unknown category or expert.
        """
        allowed = self.allowed.copy()
        for category, names in budget.forbidden.items():
            rows = slice(None) if category == "*" else self._row(category)
            for name in names:
                allowed[rows, self._column(name)] = False
        for category, name in budget.required.items():
            row, column = self._row(category), self._column(name)
            keep = bool(allowed[row, column])
            allowed[row] = False
            allowed[row, column] = keep
        return allowed

    def spending(self, name: str, limit: float) -> Floats:
        """What each cell adds to an average limit, float64[c, m], per unit of share; NaN where unknown."""
        c = len(self.categories)
        if name == "active_params_b":
            return np.tile(self.active_params_b, (c, 1))
        if name == "usd_per_1k":
            return self.usd_per_1k
        if self.latency is None:
            return np.full(self.value.shape, np.nan)
        return self.latency.slower_than(limit, c)

    def _row(self, category: str) -> int:
        if category not in self.categories:
            raise ConfigError(
                f"Budget names the category `{category}`.", hint=f"Known: {', '.join(self.categories)}."
            )
        return self.categories.index(category)

    def _column(self, expert: str) -> int:
        if expert not in self.experts:
            raise ConfigError(
                f"Budget names the expert `{expert}`.", hint=f"Known: {', '.join(self.experts)}."
            )
        return self.experts.index(expert)
