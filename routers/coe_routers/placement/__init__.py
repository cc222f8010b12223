"""New experts in a trained router, unmeasured until they have scores.

placement = place(path, find, expert="new", examples=[...])   none yet: which categories it resembles
add_unmeasured(path, placement)                               marked, behind every measured expert
"""

from coe_routers.placement._affinity import Placement, affinities, place
from coe_routers.placement._unmeasured import (
    Entry,
    add_unmeasured,
    carried_over,
    keep_unmeasured,
    remove_unmeasured,
    unmeasured,
)

__all__ = [
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
