"""Active ranking: which (expert, category) cells to evaluate next, and what is settled already.

    standing = rank(outcomes, Plan(delta=0.05, tolerance=0.05), limit=10)

Source of the task: Active Ranking of Experts (arXiv 2306.02628). It assumes that one expert beats another on
all tasks alike, which routing contradicts; so each category is a race of its own here.
"""

from coe_routers.ranking._betting import largest_log_capital
from coe_routers.ranking._race import Race
from coe_routers.ranking._rank import Plan, Proposal, Ranking, Standing, Verdict, rank

__all__ = [
    "Plan",
    "Proposal",
    "Race",
    "Ranking",
    "Standing",
    "Verdict",
    "largest_log_capital",
    "rank",
]
