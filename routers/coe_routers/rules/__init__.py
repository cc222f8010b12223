"""Rules: from category probabilities to an expert, budgets counted by their prices."""

from coe_routers.rules._prices import prices
from coe_routers.rules._rule import Rule

__all__ = ["Rule", "prices"]
