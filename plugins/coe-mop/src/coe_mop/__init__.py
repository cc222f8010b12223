"""Mixture-of-Prompts: prompt experts made from task examples, and the router that chooses among them.

The functions here are entry points; they import what they return, and nothing before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coe.contracts import Expert, Plugin, Router

__all__ = ["mop_expert", "mop_router"]


def mop_expert() -> Plugin[Expert]:
    """Entry point `mop` of the group coe.experts."""
    from coe_mop._serve import EXPERT

    return EXPERT


def mop_router() -> Plugin[Router]:
    """Entry point `mop` of the group coe.routers."""
    from coe_mop._serve import ROUTER

    return ROUTER
