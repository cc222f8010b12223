from __future__ import annotations

from coe_routers import ranking

NAMES = [
    "Plan",
    "Proposal",
    "Race",
    "Ranking",
    "Standing",
    "Verdict",
    "largest_log_capital",
    "rank",
]


def test_what_the_package_exports() -> None:
    assert ranking.__all__ == NAMES
    assert all(hasattr(ranking, name) for name in NAMES)
