"""Recorded outcomes: reading them, and what they cost."""

from coe_routers.outcomes._cards import read_cards
from coe_routers.outcomes._costs import Costs, by_expert, cost_usd
from coe_routers.outcomes._outcomes import Outcomes, merge
from coe_routers.outcomes._read import PromptRow, read_outcomes, read_prompts

__all__ = [
    "Costs",
    "Outcomes",
    "PromptRow",
    "by_expert",
    "cost_usd",
    "merge",
    "read_cards",
    "read_outcomes",
    "read_prompts",
]
