"""The kernels for CPUs: C++ that the system's compiler builds at first use, called by its C interface."""

from __future__ import annotations

from coe_kernels.cpu._arrays import PackedLayer, best_isa, from_bfloat16, fused_moe, pack, to_bfloat16
from coe_kernels.cpu._library import Isa, Library, Type, library

__all__ = [
    "Isa",
    "Library",
    "PackedLayer",
    "Type",
    "best_isa",
    "from_bfloat16",
    "fused_moe",
    "library",
    "pack",
    "to_bfloat16",
]
