"""Saved routers: classifier, limit of uncertainty, expert map."""

from coe_routers.artifact._router import (
    EmbedderRef,
    ExpertMap,
    FindEmbedder,
    Method,
    RouterArtifact,
    RouterFacts,
    load_router,
    read_facts,
    save_expert_map,
    save_router,
)

__all__ = [
    "EmbedderRef",
    "ExpertMap",
    "FindEmbedder",
    "Method",
    "RouterArtifact",
    "RouterFacts",
    "load_router",
    "read_facts",
    "save_expert_map",
    "save_router",
]
