"""The two-step router: classifier, then expert map."""

from coe_routers.two_step._plugin import BUILTIN, PLUGIN, TwoStepSettings
from coe_routers.two_step._ranking import Ranking, rank
from coe_routers.two_step._router import TwoStepRouter

__all__ = ["BUILTIN", "PLUGIN", "Ranking", "TwoStepRouter", "TwoStepSettings", "rank"]
