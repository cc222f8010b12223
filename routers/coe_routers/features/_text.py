"""The text that routing reads: one user turn, the offered tools, and windows instead of truncation."""

from __future__ import annotations

from coe.contracts import Features, ToolFact

WINDOW_CHARS = 1024
MAX_WINDOWS = 8
MAX_CHARS = WINDOW_CHARS * MAX_WINDOWS
"""Longest text that is read whole; the work for one prompt is bounded by it."""
MAX_TOOLS = 64


def routing_text(features: Features, *, tools: bool = False) -> str:
    """The text of a request that classifiers read.

    Args:
        features: of the request.
        tools: whether names and descriptions of the offered tools follow the user's text. Their number is
            added as a word (`tools3`), because how many tools there are says much about the kind of call.
    """
    text = windows(features.text)
    if not tools or not features.tools:
        return text
    return f"{text}\n{windows(_tool_text(features.tools))}"


def windows(text: str) -> str:
    """The text itself, or `MAX_WINDOWS` evenly spaced pieces of it when it is longer than `MAX_CHARS`.

    The first piece starts with the text and the last one ends with it: instructions stand at the ends.
    """
    if len(text) <= MAX_CHARS:
        return text
    step = (len(text) - WINDOW_CHARS) / (MAX_WINDOWS - 1)
    starts = [round(step * index) for index in range(MAX_WINDOWS)]
    return "\n".join(text[start : start + WINDOW_CHARS] for start in starts)


def _tool_text(tools: tuple[ToolFact, ...]) -> str:
    offered = "\n".join(f"{tool.name} {tool.description}" for tool in tools[:MAX_TOOLS])
    return f"tools{len(tools)}\n{offered}"
