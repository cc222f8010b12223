"""Where server-sent events end, in streams that come in any pieces."""

from __future__ import annotations

MAX_EVENT_BYTES = 1024 * 1024
"""No event of an LLM's stream is larger: one that is has no end."""

_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


def first_end(data: bytes) -> int:
    """Where the first whole event ends (exclusive), or -1."""
    end = -1
    for mark in _ENDS:
        # No further than the nearest so far: a piece may hold a whole stream.
        if (at := data.find(mark, 0, len(data) if end < 0 else end)) >= 0:
            end = at + len(mark)
    return end


def last_end(data: bytes) -> int:
    """Where the last whole event ends (exclusive), or -1."""
    if data.endswith(_ENDS):  # as nearly always; looking for the other marks would cost as much as parsing it
        return len(data)
    return max([at + len(mark) for mark in _ENDS if (at := data.rfind(mark)) >= 0], default=-1)
