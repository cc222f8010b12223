"""Routing: category, then ranked experts."""

from coe_routers.routing._plugin import BUILTIN, PLUGIN, TwoStepSettings
from coe_routers.routing._ranking import Ranking, rank
from coe_routers.routing._two_step import TwoStepRouter

__all__ = ["BUILTIN", "PLUGIN", "Ranking", "TwoStepRouter", "TwoStepSettings", "rank"]
