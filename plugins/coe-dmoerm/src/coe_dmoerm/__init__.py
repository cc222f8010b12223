"""Reward experts in two layers (DMoERM), and composite experts that use them.

The functions here are entry points; they import what they return, and nothing before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coe.contracts import Expert, Plugin

__all__ = ["best_of_n", "cascade", "dmoerm", "ensemble"]


def dmoerm() -> Plugin[Expert]:
    """Entry point `dmoerm` of the group coe.experts."""
    from coe_dmoerm._serve import EXPERT

    return EXPERT


def best_of_n() -> Plugin[Expert]:
    """Entry point `best_of_n` of the group coe.experts."""
    from coe_dmoerm.strategies._best_of_n import EXPERT

    return EXPERT


def cascade() -> Plugin[Expert]:
    """Entry point `cascade` of the group coe.experts."""
    from coe_dmoerm.strategies._cascade import EXPERT

    return EXPERT


def ensemble() -> Plugin[Expert]:
    """Entry point `ensemble` of the group coe.experts."""
    from coe_dmoerm.strategies._ensemble import EXPERT

    return EXPERT
