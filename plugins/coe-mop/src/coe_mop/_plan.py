"""How a budget of calls is spent. Pure arithmetic: the plan depends on nothing that a run finds out."""

from __future__ import annotations

from dataclasses import dataclass

from coe.errors import DataError

POLICIES = 6
"""Prompts that the report compares: see `coe_mop._policies`."""
_KEPT = 4  # proposals that are tried in every region, besides the empty instruction
_MOST_PROPOSALS = 20
_MOST_REPORTED = 40
_REPORT_SHARE = 0.3
_RESERVE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """Calls by purpose. The APE baseline has as many for its search as the mixture.

    Attributes:
        proposals: instructions proposed, for the mixture and again for APE.
        screened: common items on which each proposal is scored without demonstrations.
        tried: instructions tried in each region, the empty one included.
        checked: items on which each is tried, per region.
        ape_screened: common items on which each of APE's proposals is scored.
        reported: held-back items on which the report compares all policies.
        reserve: left for calls that fail or are interrupted.
    """

    proposals: int
    screened: int
    tried: int
    checked: int
    ape_screened: int
    reported: int
    reserve: int

    def search_calls(self, regions: int) -> int:
        """Calls of the mixture's search."""
        return self.proposals * (1 + self.screened) + self.tried * self.checked * regions

    def total(self, regions: int) -> int:
        """Calls in all, without the reserve."""
        ape = self.proposals * (1 + self.ape_screened)
        return self.search_calls(regions) + ape + POLICIES * self.reported


def make_plan(budget: int, regions: int, *, validation: int, held_back: int, concurrency: int) -> Plan:
    """Split a budget.

    Args:
        budget: calls in all.
        regions: how many there are.
        validation: validation items at hand.
        held_back: items at hand for the report.
        concurrency: calls that a crash can lose at once.

    Raises:
        DataError: too few calls for the smallest search; says how many it takes.
    """
    reserve = max(concurrency, int(_RESERVE_SHARE * budget))
    reported = max(min(held_back, _MOST_REPORTED, int(_REPORT_SHARE * budget) // POLICIES), 0)
    search = (budget - reserve - POLICIES * reported) // 2
    for proposals in range(min(_MOST_PROPOSALS, max(search // 8, 1)), 0, -1):
        tried = min(_KEPT, proposals) + 1
        # A third of the search screens proposals, the rest tries the best of them in every region.
        screened = min(validation, max((search // 3 - proposals) // proposals, 1))
        left = search - proposals * (1 + screened)
        checked = min(validation, left // (tried * regions))
        if checked >= min(3, validation):
            ape = min(validation, (search - proposals) // proposals)
            return Plan(proposals, screened, tried, checked, ape, reported, reserve)
    least = 2 * (2 + 2 * min(3, validation) * regions) + concurrency
    raise DataError(
        f"A budget of {budget} calls is too small to search instructions for {regions} regions.",
        hint=f"Take about {2 * least} or more, or --no-instructions, which makes no call.",
    )
