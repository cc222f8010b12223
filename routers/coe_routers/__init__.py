"""Routers: how prompts are read, classified and mapped to experts.

The functions here are entry points; they import what they return, and nothing before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coe.contracts import Embedder, Plugin, Router

__all__ = ["expected_router", "sentence_transformers", "static", "two_step_router"]


def two_step_router() -> Plugin[Router]:
    """The `two-step` router."""
    from coe_routers.routing import PLUGIN

    return PLUGIN


def expected_router() -> Plugin[Router]:
    """The `expected` router."""
    from coe_routers.expected import PLUGIN

    return PLUGIN


def static() -> Plugin[Embedder]:
    """The `static` embedder."""
    from coe_routers.features.plugins import STATIC

    return STATIC


def sentence_transformers() -> Plugin[Embedder]:
    """The `sentence-transformers` embedder; its library is imported when one is created."""
    from coe_routers.features.plugins import SENTENCE_TRANSFORMERS

    return SENTENCE_TRANSFORMERS
