"""Policies side by side on outcomes that nothing was fitted on."""

from coe_routers.evaluation._other import evaluate_decisions
from coe_routers.evaluation._policies import PolicyRow, compare, knn_choice
from coe_routers.evaluation._report import Report, evaluate

__all__ = ["PolicyRow", "Report", "compare", "evaluate", "evaluate_decisions", "knn_choice"]
