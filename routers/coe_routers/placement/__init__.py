"""New experts in a trained router without training again: with scores, or unmeasured until there are some.

add_scores(path, outcomes, cards, seed=0)                     scores exist: joined, the map solved again
placement = place(path, find, expert="new", examples=[...])   none yet: which categories it resembles
add_unmeasured(path, placement)                               marked, behind every measured expert
"""

from coe_routers.placement._affinity import Placement, affinities, place
from coe_routers.placement._unmeasured import (
    Entry,
    add_unmeasured,
    keep_unmeasured,
    remove_unmeasured,
    unmeasured,
)

__all__ = [
    "Entry",
    "Placement",
    "add_unmeasured",
    "affinities",
    "keep_unmeasured",
    "place",
    "remove_unmeasured",
    "unmeasured",
]
