from __future__ import annotations

from coe_routers import placement

NAMES = [
    "Entry",
    "Placement",
    "add_unmeasured",
    "affinities",
    "carried_over",
    "keep_unmeasured",
    "place",
    "remove_unmeasured",
    "unmeasured",
]


def test_what_the_package_exports() -> None:
    assert placement.__all__ == NAMES
    assert all(hasattr(placement, name) for name in NAMES)
