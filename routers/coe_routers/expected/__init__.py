"""Routing by expected score: categories weighed by their probabilities, budgets by their prices."""

from coe_routers.expected._prices import prices
from coe_routers.expected._rule import Rule

__all__ = ["Rule", "prices"]
