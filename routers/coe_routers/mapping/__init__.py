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
from coe_routers.mapping._evidence import Evidence, evidence
from coe_routers.mapping._infeasible import InfeasibleBudget
from coe_routers.mapping._problem import LIMITS, Budget, Latency, Problem
from coe_routers.mapping._solver import ExpertMap, best_single_map, solve

__all__ = [
    "LIMITS",
    "Budget",
    "Choice",
    "Evidence",
    "ExpertMap",
    "FrontPoint",
    "InfeasibleBudget",
    "Latency",
    "Marginal",
    "Problem",
    "PruningPoint",
    "Stability",
    "best_single_map",
    "choose_map",
    "evidence",
    "marginal_values",
    "pareto_front",
    "pruning_curve",
    "solve",
    "stability",
]
