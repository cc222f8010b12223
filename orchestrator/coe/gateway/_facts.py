"""Where the caller is told about routing: headers, and the `coe` object in the body."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw

from coe.contracts import Card
from coe.engine import Routed, confidence

_members = msgspec.json.Decoder(dict[str, Raw])


def routing_lines(decision_id: str, routed: Routed, card: Card, fallback_from: tuple[str, ...] = ()) -> bytes:
    """The `x-coe-*` response headers, as lines."""
    decision = routed.decision
    lines = (
        f"x-coe-schema: 1\r\nx-coe-decision-id: {decision_id}\r\n"
        f"x-coe-category: {_safe[decision.category]}\r\nx-coe-confidence: {confidence(routed):.4g}\r\n"
        f"x-coe-expert: {_safe[card.name]}\r\nx-coe-expert-kind: {card.kind}\r\n"
        f"x-coe-cache: {routed.cache}\r\nx-coe-route-us: {routed.route_us}\r\n"
    )
    if routed.switch is not None:
        lines += f"x-coe-session-switch: {routed.switch.why}\r\n"
    if fallback_from:
        lines += f"x-coe-fallback-from: {_header_value(','.join(fallback_from))}\r\n"
    return lines.encode("ascii")


def annotate(completion: bytes, expert: str, facts: dict[str, Any]) -> bytes:
    """Set `model` and add `coe` to a completion or chunk; its other members are copied unread.

    Raises:
        msgspec.DecodeError: it is not a JSON object.
    """
    members = _members.decode(completion)
    return msgspec.json.encode({**members, "model": expert, "coe": facts})


def annotate_first_event(piece: bytes, expert: str, facts: dict[str, Any]) -> bytes:
    """`annotate` for the first event of a stream's first piece; what follows it stays as it is.

    Raises:
        msgspec.DecodeError: the event's data is not a JSON object.
    """
    start = piece.index(b"data:") + len(b"data:")
    end = piece.find(b"\n", start)
    end = len(piece) if end < 0 else end
    if piece[end - 1 : end] == b"\r":  # half of the line's end
        end -= 1
    return piece[:start] + b" " + annotate(piece[start:end], expert, facts) + piece[end:]


def _header_value(text: str) -> str:
    """Header-safe text: what is not printable ASCII is percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=" ,")


class _Safe(dict[str, str]):
    """Header values of names that come again and again: categories and experts."""

    def __missing__(self, name: str) -> str:
        value = _header_value(name)
        if len(self) < _MAX_SAFE:
            self[name] = value
        return value


_MAX_SAFE = 4096
_safe = _Safe()
