"""Decisions: what routers have in common once they have put the experts in order."""

from coe_routers.decisions._decide import decide, revision_of

__all__ = ["decide", "revision_of"]
