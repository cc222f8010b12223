"""The expert map: which expert answers which category, solved exactly under budgets."""

from coe_routers.mapping._analysis import (
    FrontPoint,
    Marginal,
    PruningPoint,
    Stability,
    marginal_values,
    pareto_front,
    pruning_curve,
    stability,
)
from coe_routers.mapping._choose import Choice, choose_map
from coe_routers.mapping._crossval import held_out, known_mean
from coe_routers.mapping._evidence import Evidence, Instance, cost_of, evidence
from coe_routers.mapping._infeasible import InfeasibleBudget
from coe_routers.mapping._problem import LIMITS, Budget, Latency, Problem
from coe_routers.mapping._rules import Kind, Solved, single_rule, solve_rule
from coe_routers.mapping._solver import ExpertMap, best_single_map, solve

__all__ = [
    "LIMITS",
    "Budget",
    "Choice",
    "Evidence",
    "ExpertMap",
    "FrontPoint",
    "InfeasibleBudget",
    "Instance",
    "Kind",
    "Latency",
    "Marginal",
    "Problem",
    "PruningPoint",
    "Solved",
    "Stability",
    "best_single_map",
    "choose_map",
    "cost_of",
    "evidence",
    "held_out",
    "known_mean",
    "marginal_values",
    "pareto_front",
    "pruning_curve",
    "single_rule",
    "solve",
    "solve_rule",
    "stability",
]
