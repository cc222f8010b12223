"""Why no map fits a budget, and what the smallest budget is that one would fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from coe.errors import ConfigError
from coe_routers.mapping._problem import SLOW_SHARE, Budget, Problem
from coe_routers.mapping._program import AVERAGED, ROUNDING, program
from coe_routers.mapping._search import cheapest_pool, optimum


class InfeasibleBudget(ConfigError):
    """No map fits the budget.

    Attributes:
        smallest: limit name to the smallest value that is feasible with all other limits as they are;
            a limit is absent where relaxing it alone does not help.
    """

    code = "budget_infeasible"

    def __init__(self, message: str, smallest: Mapping[str, float], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.smallest = dict(smallest)


def explain(problem: Problem, budget: Budget, unknown: Mapping[str, tuple[str, ...]]) -> InfeasibleBudget:
    """The error to raise for a budget that nothing fits."""
    usable = problem.restricted(budget)
    bare = [name for name, row in zip(problem.categories, usable, strict=True) if not row.any()]
    if bare:
        return InfeasibleBudget(
            f"No expert may answer {_names(bare)}: none has outcomes there that the budget allows.",
            {},
            hint="Evaluate an expert on these prompts, or forbid and require less.",
        )
    limits = budget.limits()
    smallest = {name: least for name in limits if (least := _smallest(problem, budget, name)) is not None}
    asked = " and ".join(f"{name} <= {limit:g}" for name, limit in limits.items())
    left_out = "; ".join(f"{name} is unknown for {_names(names)}" for name, names in unknown.items())
    hint = f"Left out: {left_out}." if left_out else None
    if not smallest:
        alone = {name: _smallest(problem, _only(budget, name), name) for name in limits}
        facts = "; ".join(
            f"{name} alone needs {least:.6g}" if least is not None else f"{name} alone cannot be met"
            for name, least in alone.items()
        )
        return InfeasibleBudget(f"No map fits {asked}: {facts}.", {}, hint=hint)
    facts = " or ".join(f"{name} to {_up(least):g}" for name, least in smallest.items())
    return InfeasibleBudget(f"No map fits {asked}. Raise {facts}.", smallest, hint=hint)


def _smallest(problem: Problem, budget: Budget, name: str) -> float | None:
    """Smallest value of one limit that leaves a map, all others as they are."""
    if name == "p95_latency_s":
        return _smallest_latency(problem, budget)
    made, _ = program(problem, replace(budget, **{name: 10**9}))
    if name in AVERAGED:
        spent = made.weight * made.average.pop(name)[0]
        best = optimum(made, spent, nodes=budget.nodes).chosen
        return None if best is None else float(spent[best].sum())
    size = made.pooled.pop(name)[0]
    best = cheapest_pool(made, size, nodes=budget.nodes)
    return None if best is None else float(size[np.unique(made.column[best])].sum())


def _smallest_latency(problem: Problem, budget: Budget) -> float | None:
    """Bisection over the recorded latencies: feasibility is monotone in the limit."""
    if problem.latency is None:
        return None
    recorded = problem.latency.seconds[np.isfinite(problem.latency.seconds)]
    candidates = np.unique(recorded[recorded > 0].astype(np.float64))

    def feasible(limit: float) -> bool:
        made, _ = program(problem, replace(budget, p95_latency_s=limit))
        slow = made.weight * made.average.pop("p95_latency_s")[0]
        best = optimum(made, slow, nodes=budget.nodes).chosen
        return best is not None and float(slow[best].sum()) <= SLOW_SHARE * (1 + ROUNDING)

    if not len(candidates) or not feasible(float(candidates[-1])):
        return None
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if feasible(float(candidates[middle])) else (middle + 1, high)
    return float(candidates[low])


def _only(budget: Budget, name: str) -> Budget:
    return Budget(
        **{name: getattr(budget, name)},
        required=budget.required,
        forbidden=budget.forbidden,
        nodes=budget.nodes,
    )


def _up(number: float) -> float:
    """Four digits, rounded up, so that what the message proposes is feasible."""
    if number == 0:
        return 0.0
    digit = 10.0 ** (np.floor(np.log10(abs(number))) - 3)
    return float(np.ceil(number / digit - 1e-9) * digit)


def _names(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
