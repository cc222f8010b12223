"""The text that routing reads: one user turn, the offered tools, and windows instead of truncation."""

from __future__ import annotations

from coe.contracts import Features
from coe_routers.features._tool_words import tool_words

WINDOW_CHARS = 1024
MAX_WINDOWS = 8
MAX_CHARS = WINDOW_CHARS * MAX_WINDOWS
"""Longest text that is read whole; the work for one prompt is bounded by it."""
MAX_TOOLS = 64


def routing_text(features: Features, *, tools: bool = False) -> str:
    """The text of a request that classifiers read.

    Args:
        features: of the request.
        tools: whether names and descriptions of the offered tools follow the user's text, and words that
            say how many there are and how well they fit it.
    """
    text = windows(features.text)
    if not tools or not features.tools:
        return text
    read = features.tools[:MAX_TOOLS]
    offered = "\n".join(f"{tool.name} {tool.description}" for tool in read)
    return f"{text}\n{tool_words(text, read)}\n{windows(offered)}"


def windows(text: str) -> str:
    """The text itself, or `MAX_WINDOWS` evenly spaced pieces of it when it is longer than `MAX_CHARS`.

    The first piece starts with the text and the last one ends with it: instructions stand at the ends.
    """
    if len(text) <= MAX_CHARS:
        return text
    step = (len(text) - WINDOW_CHARS) / (MAX_WINDOWS - 1)
    starts = [round(step * index) for index in range(MAX_WINDOWS)]
    return "\n".join(text[start : start + WINDOW_CHARS] for start in starts)
