"""Heads of HTTP messages that have been parsed before, told from their bytes.

Who keeps a connection sends the same head again and again, but for the length of the body. To compare it
costs a tenth of what parsing it anew does.
"""

from __future__ import annotations

MAX_HEAD_BYTES = 4096
"""Longer ones are not kept."""

_NAME = b"\r\ncontent-length:"
_END = b"\r\n\r\n"
_MAX_DIGITS = 12


class SeenHead:
    """A head with a content-length, as its bytes before and after the digits of it.

    Args:
        before: from the first byte to the digits.
        after: from the digits to the end.
    """

    __slots__ = ("_after", "_before")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after

    def body(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The digits of the length, and the body; None unless `data` is this head and just its body."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MAX_DIGITS)
        digits = data[start:end]
        if not data.startswith(after, end) or not digits.isdigit():
            return None
        body = data[end + len(after) :]
        return (digits, body) if body and len(body) == int(digits) else None


def seen(data: bytes, headers: dict[bytes, bytes]) -> SeenHead | None:
    """The head of a message that has been parsed; None when it cannot be told from its bytes alone.

    Args:
        data: the whole message, and nothing else.
        headers: what the parser found: lower-case names and values.
    """
    length = headers.get(b"content-length", b"")
    end = data.find(_END, 0, MAX_HEAD_BYTES)
    if not length.isdigit() or b"transfer-encoding" in headers or len(data) != end + len(_END) + int(length):
        return None
    head = data[:end].lower()
    if head.count(_NAME) != 1:
        return None
    start = head.index(_NAME) + len(_NAME)
    while head[start : start + 1] == b" ":
        start += 1
    after = start + len(length)
    if data[start:after] != length or data[after : after + 1] != b"\r":
        return None
    return SeenHead(data[:start], data[after : end + len(_END)])
