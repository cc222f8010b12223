"""From recorded outcomes to a router's folder, and back to what it rests on."""

from coe_routers.offline._add import Added, add_experts
from coe_routers.offline._discover import discover
from coe_routers.offline._embedders import find_embedder
from coe_routers.offline._optimize import Optimized, optimize
from coe_routers.offline._route import route_file
from coe_routers.offline._state import State, read_state, state_files
from coe_routers.offline._train import Trained, TrainOptions, train

__all__ = [
    "Added",
    "Optimized",
    "State",
    "TrainOptions",
    "Trained",
    "add_experts",
    "discover",
    "find_embedder",
    "optimize",
    "read_state",
    "route_file",
    "state_files",
    "train",
]
