"""From recorded outcomes to a router's folder, and back to what it rests on."""

from coe_routers.offline._add import Added, add_experts
from coe_routers.offline._discover import ALPHA, discover
from coe_routers.offline._embedders import find_embedder
from coe_routers.offline._optimize import Optimized, optimize
from coe_routers.offline._others import (
    OTHER_KINDS,
    OtherKind,
    OtherTrained,
    decides_by,
    encoder_of,
    load_router_of,
    require_map,
    train_other,
)
from coe_routers.offline._route import route_file
from coe_routers.offline._state import State, read_state, state_files
from coe_routers.offline._train import Trained, TrainOptions, train

__all__ = [
    "ALPHA",
    "OTHER_KINDS",
    "Added",
    "Optimized",
    "OtherKind",
    "OtherTrained",
    "State",
    "TrainOptions",
    "Trained",
    "add_experts",
    "decides_by",
    "discover",
    "encoder_of",
    "find_embedder",
    "load_router_of",
    "optimize",
    "read_state",
    "require_map",
    "route_file",
    "state_files",
    "train",
    "train_other",
]
