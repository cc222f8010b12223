"""From a solved map to the rule that a router decides by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coe_routers.mapping._evidence import Evidence, Instance, Rows
from coe_routers.mapping._problem import SLOW_SHARE, Budget, Problem
from coe_routers.mapping._program import AVERAGED, POOLED
from coe_routers.mapping._solver import ExpertMap, solve
from coe_routers.rules import Rule, prices

Floats = NDArray[np.float64]
Kind = Literal["map", "expected"]
_PRICED_ROWS = 2000
"""Prompts that prices are found on; more change them by less than their own noise."""


@dataclass(frozen=True, slots=True)
class Solved:
    """A map, the rule made of it, and the best single expert within the budget."""

    map: ExpertMap
    rule: Rule
    single: int | None


def solve_rule(
    evidence: Evidence, budget: Budget, kind: Kind, *, caution: float = 0.0, rows: Rows | None = None
) -> Solved | None:
    """Solve the map of the rows and make a rule of it.

    `map`: solved over categories as routed, so that the classifier's mistakes are part of the evidence; the
    most probable category's expert answers. Keeps every budget exactly on the rows.
    `expected`: solved over the prompts' own categories; experts are compared by their expected score over the
    category probabilities. Averaged limits are kept through prices, limits on the set of experts by using
    the map's experts only.

    Returns:
        None when `expected` finds no prices that keep the budget.

    Raises:
        InfeasibleBudget: no map fits.
    """
    instance = evidence.instance(budget, caution=caution, rows=rows, routed=kind == "map")
    solved = solve(instance.problem, budget)
    if kind == "map":
        return Solved(solved, _of_map(instance, budget, solved), instance.single)
    rule = _expected(evidence, instance, budget, solved, rows)
    return None if rule is None else Solved(solved, rule, instance.single)


def single_rule(evidence: Evidence, expert: int) -> Rule:
    """One expert for everything."""
    shape = (len(evidence.categories) + 1, len(evidence.experts))
    allowed = np.zeros(shape, dtype=bool)
    allowed[:, expert] = True
    return Rule(
        experts=evidence.experts, value=np.zeros(shape), price=np.zeros(shape), allowed=allowed, blend=False
    )


def _of_map(instance: Instance, budget: Budget, solved: ExpertMap) -> Rule:
    value = instance.table.value
    # The chosen expert comes first whatever the others' values are; they stay in order behind it.
    price = np.ones_like(value)
    price[np.arange(len(solved.chosen)), solved.chosen] = -1.0
    usable = _usable(instance.problem, budget, solved)
    return Rule(experts=solved.experts, value=value, price=price, allowed=usable, blend=False)


def _expected(
    evidence: Evidence, instance: Instance, budget: Budget, solved: ExpertMap, rows: Rows | None
) -> Rule | None:
    problem, table = instance.problem, instance.table
    usable = _usable(problem, budget, solved)
    usable = np.vstack([usable, usable.any(axis=0)])
    # Where an expert was never tried it is taken to be as bad as the worst one that was.
    worst = np.where(problem.allowed, table.value, np.inf).min(axis=1, keepdims=True)
    score = np.where(problem.allowed, table.value, worst)
    value = _with_general(score, problem.share)
    caution = _with_general(np.where(problem.allowed, table.value - problem.value, 0.0), problem.share)
    rule = Rule(experts=problem.experts, value=value, price=caution, allowed=usable, blend=True)
    limits = {name: limit for name, limit in budget.limits().items() if name in AVERAGED}
    if not limits:
        return rule
    spending = {
        name: _with_general(problem.spending(name, most), problem.share) for name, most in limits.items()
    }
    if "p95_latency_s" in limits:
        limits["p95_latency_s"] = SLOW_SHARE
    known = np.logical_and.reduce([np.isfinite(each).all(axis=0) for each in spending.values()])
    spending = {name: np.nan_to_num(each) for name, each in spending.items()}
    rule = replace(rule, allowed=usable & known)
    if not rule.allowed.any(axis=1).all():
        return None
    every = np.arange(len(evidence)) if rows is None else np.asarray(rows)
    sample = every[:: max(1, len(every) // _PRICED_ROWS)]
    probabilities, uncertain = evidence.probabilities[sample], evidence.uncertain[sample]
    worth = rule.scores(probabilities, uncertain)[1]
    costs = [np.where(uncertain[:, None], each[-1], probabilities @ each[:-1]) for each in spending.values()]
    found = prices(worth, costs, list(limits.values()))
    if found is None:
        return None
    price = rule.price
    for each, number, limit in zip(spending.values(), found, limits.values(), strict=True):
        price = price + each * number / limit
    return replace(rule, price=price)


def _usable(problem: Problem, budget: Budget, solved: ExpertMap) -> NDArray[np.bool_]:
    """bool[c, m]: cells that may be used beside the map's own, which always may."""
    usable = problem.restricted(budget)
    if any(name in POOLED for name in budget.limits()):
        in_use = np.zeros(usable.shape[1], dtype=bool)
        in_use[solved.chosen] = True
        usable = usable & in_use
    usable[np.arange(len(solved.chosen)), solved.chosen] = True
    return usable


def _with_general(matrix: Floats, share: Floats) -> Floats:
    """One more row for `general`: the mean over the traffic."""
    return np.vstack([matrix, share @ matrix])
