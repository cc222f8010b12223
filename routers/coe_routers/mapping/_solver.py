"""Solving the map: best value first, then the cheaper of equal maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe_routers.mapping._averaged import GAP
from coe_routers.mapping._infeasible import explain
from coe_routers.mapping._problem import SLOW_SHARE, Budget, Problem
from coe_routers.mapping._program import AVERAGED, POOLED, program
from coe_routers.mapping._search import optimum

Floats = NDArray[np.float64]

TIE = 1e-5
"""Maps whose values differ by less than this, a thousandth of a point, are equal: the cheaper is taken. It is
the weight of the relative tie cost in the objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertMap:
    """A solved map.

    Attributes:
        categories, experts: names of the instance.
        chosen: int64[c], the expert of each category.
        ranked: for each category the experts in order of preference, the chosen one first, for fallback. When
            the set of experts is limited only experts in use follow, since no other is loaded; else all
            allowed ones, by value.
        value: expected value over the traffic: `sum(share * value[chosen])`.
        spends: what the map uses of every limit, in the limit's unit, where it is known, limited or not.
        unknown: limit name to experts left out because that fact is not known of them.
        gap: no map within the budget is worth more than this above `value`, the tie cost counted in; 0 when
            it is proven best, as it is unless the solver had to give up.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    chosen: NDArray[np.int64]
    ranked: tuple[tuple[int, ...], ...]
    value: float
    spends: dict[str, float]
    unknown: dict[str, tuple[str, ...]]
    gap: float

    def used(self) -> tuple[str, ...]:
        """Names of the experts in use."""
        in_use: list[int] = np.unique(self.chosen).tolist()
        return tuple(self.experts[e] for e in in_use)

    def named(self) -> dict[str, str]:
        """Category to expert."""
        return {name: self.experts[e] for name, e in zip(self.categories, self.chosen.tolist(), strict=True)}


def solve(problem: Problem, budget: Budget | None = None) -> ExpertMap:
    """The map of highest value within the budget; among equal ones that of lowest `tie_cost`.

    Exact: branch and bound with HiGHS to a gap of zero, but for the safety `budget.nodes`, whose use `gap`
    tells. Without a limit every category is decided by itself.

    Raises:
        InfeasibleBudget: nothing fits; the message names the limit and the smallest one that would do.
        ConfigError: the budget names an unknown category or expert, or `budget.nodes` were too few to find
            any map or to prove that there is none.
        PluginError: scipy is not installed.
    """
    budget = budget or Budget()
    made, unknown = program(problem, budget)
    worth = problem.value - TIE * _relative(problem.tie_cost)
    objective = -made.weight * worth[made.row, made.column]
    best, bound = optimum(made, objective, nodes=budget.nodes)
    if best is None:
        if np.isfinite(bound):
            raise ConfigError(
                f"No map was found within {budget.nodes} branches, nor proven that there is none.",
                hint="Allow more branches, or loosen the budget.",
            )
        raise explain(problem, budget, unknown)
    gap = float(objective[best].sum()) - bound
    chosen = made.column[best]
    pooled = any(name in POOLED for name in budget.limits())
    return ExpertMap(
        categories=problem.categories,
        experts=problem.experts,
        chosen=chosen,
        ranked=_ranked(problem, budget, chosen, pooled=pooled),
        value=float(problem.share @ problem.value[np.arange(len(chosen)), chosen]),
        spends=spends(problem, chosen),
        unknown=unknown,
        gap=gap if gap > GAP else 0.0,
    )


def best_single_map(problem: Problem, budget: Budget | None = None) -> int | None:
    """Column of the expert that, answering everything, is worth most within the budget; the cheaper on a tie.

    Returns:
        None when no expert alone fits.
    """
    budget = budget or Budget()
    usable = problem.restricted(budget) | (problem.share == 0)[:, None]
    fits = usable.all(axis=0)
    for name, limit in budget.limits().items():
        if name in AVERAGED:
            most = SLOW_SHARE if name == "p95_latency_s" else limit
            with np.errstate(invalid="ignore"):
                fits &= problem.share @ problem.spending(name, limit) <= most + 1e-12
        elif name == "total_params_b":
            fits &= problem.total_params_b <= limit
    worth = problem.share @ (problem.value - TIE * _relative(problem.tie_cost))
    return int(np.where(fits, worth, -np.inf).argmax()) if fits.any() else None


def spends(problem: Problem, chosen: NDArray[np.int64]) -> dict[str, float]:
    """What a map uses, by limit name: only what is known of every chosen expert."""
    rows = np.arange(len(chosen))
    in_use = np.unique(chosen)
    found = {
        "active_params_b": float(problem.share @ problem.active_params_b[chosen]),
        "total_params_b": float(problem.total_params_b[in_use].sum()),
        "usd_per_1k": float(problem.share @ problem.usd_per_1k[rows, chosen]),
        "p95_latency_s": _p95(problem, chosen),
        "max_experts": float(len(in_use)),
    }
    return {name: number for name, number in found.items() if np.isfinite(number)}


def _p95(problem: Problem, chosen: NDArray[np.int64]) -> float:
    """Smallest recorded latency that at most 5% of the map's requests exceed."""
    if problem.latency is None:
        return float("nan")
    category = problem.latency.category
    seconds = problem.latency.seconds[np.arange(len(category)), chosen[category]].astype(np.float64)
    seen = np.isfinite(seconds)
    counts = np.bincount(category[seen], minlength=len(problem.categories))
    if (counts[problem.share > 0] == 0).any():
        return float("nan")
    # Each category weighs its share of the traffic, however many of its latencies were recorded.
    weight = (problem.share / np.maximum(counts, 1))[category[seen]]
    order = np.argsort(-seconds[seen])
    above = np.cumsum(weight[order]) - weight[order]
    latest = np.flatnonzero(above <= SLOW_SHARE + 1e-12)[-1]
    return float(seconds[seen][order][latest])


def _relative(cost: Floats) -> Floats:
    """Costs in 0..1; an unknown one is 1, since an expert whose price nobody knows is not the cheaper one."""
    known = cost[np.isfinite(cost)]
    top = float(known.max()) if len(known) else 0.0
    return np.nan_to_num(cost / top, nan=1.0) if top > 0 else np.zeros_like(cost)


def _ranked(
    problem: Problem, budget: Budget, chosen: NDArray[np.int64], *, pooled: bool
) -> tuple[tuple[int, ...], ...]:
    usable = problem.restricted(budget)
    if pooled:
        in_use = np.zeros(len(problem.experts), dtype=bool)
        in_use[chosen] = True
        usable &= in_use[None, :]
    lists: list[tuple[int, ...]] = []
    for category, first in enumerate(chosen.tolist()):
        others = np.argsort(-problem.value[category], kind="stable")
        lists.append((first, *(int(e) for e in others if e != first and usable[category, e])))
    return tuple(lists)
