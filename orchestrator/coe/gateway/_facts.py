"""Where the caller is told about routing: headers, and the `coe` object in the body."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw

from coe.contracts import Card
from coe.engine import Routed, confidence
from coe.gateway._asgi import Header

_members = msgspec.json.Decoder(dict[str, Raw])


def routing_headers(
    decision_id: str, routed: Routed, card: Card, fallback_from: tuple[str, ...] = ()
) -> list[Header]:
    """The `x-coe-*` response headers."""
    decision = routed.decision
    headers = [
        (b"x-coe-schema", b"1"),
        (b"x-coe-decision-id", decision_id.encode()),
        (b"x-coe-category", _header_value(decision.category)),
        (b"x-coe-confidence", b"%.4g" % confidence(routed)),
        (b"x-coe-expert", _header_value(card.name)),
        (b"x-coe-expert-kind", card.kind.encode()),
        (b"x-coe-cache", routed.cache.encode()),
        (b"x-coe-route-us", b"%d" % routed.route_us),
    ]
    if routed.switch is not None:
        headers.append((b"x-coe-session-switch", routed.switch.why.encode()))
    if fallback_from:
        headers.append((b"x-coe-fallback-from", _header_value(",".join(fallback_from))))
    return headers


def annotate(completion: bytes, expert: str, facts: dict[str, Any]) -> bytes:
    """Set `model` and add `coe` to a completion or chunk; its other members are copied unread.

    Raises:
        msgspec.DecodeError: it is not a JSON object.
    """
    members = _members.decode(completion)
    members["model"] = Raw(msgspec.json.encode(expert))
    members["coe"] = Raw(msgspec.json.encode(facts))
    return msgspec.json.encode(members)


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


def _header_value(text: str) -> bytes:
    """Header-safe bytes: what is not printable ASCII is percent-encoded."""
    return (text if text.isascii() and text.isprintable() else quote(text, safe=" ,")).encode()
