"""The usage that was asked for on a caller's behalf, taken out of its stream again."""

from __future__ import annotations

import re

import msgspec

from coe.events import MAX_EVENT_BYTES, first_end, last_end
from coe.wire import Usage

_WHOLE = (b"\n\n", b"\r\n\r\n", b"\r\r")
"""What ends an event."""
# Within a JSON string the quotes would be escaped, so no answer looks like these.
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')
"""Servers say so in every event but the last, when the usage was asked for."""


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw]
    usage: Usage | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class UsageFilter:
    """Passes a stream on, but for the event that says nothing but the usage, and for `"usage": null`.

    Other events pass as they are, and only one that has a usage is read. Half an event waits for its other
    half: nobody can use it before.

    Attributes:
        usage: what the stream said.
    """

    __slots__ = ("_rest", "usage")

    def __init__(self) -> None:
        self._rest = b""
        self.usage: Usage | None = None

    def feed(self, piece: bytes) -> bytes:
        """What is to be passed on now; may be empty."""
        if self._rest:
            piece, self._rest = self._rest + piece, b""
        if not piece.endswith(_WHOLE):
            end = max(last_end(piece), 0)
            if len(piece) - end > MAX_EVENT_BYTES:
                return piece
            piece, self._rest = piece[:end], piece[end:]
        if b'"usage"' not in piece:
            return piece
        piece = _NO_USAGE.sub(b"", piece)
        return piece if _USAGE.search(piece) is None else self._read(piece)

    def rest(self) -> bytes:
        """What is left at the end of the stream."""
        return self._rest

    def _read(self, events: bytes) -> bytes:
        kept: list[bytes] = []
        while events:
            end = first_end(events)
            event, events = events[:end], events[end:]
            if _USAGE.search(event) is None or not self._only_usage(event):
                kept.append(event)
        return b"".join(kept)

    def _only_usage(self, event: bytes) -> bool:
        try:
            chunk = _decode(event.partition(b"data:")[2].strip())
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        self.usage = chunk.usage or self.usage
        return chunk.usage is not None and not chunk.choices
