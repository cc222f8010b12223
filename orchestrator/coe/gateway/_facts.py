"""Where the caller is told about routing: headers, and the `coe` object in the body."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from msgspec import Raw

from coe.contracts import Card
from coe.engine import Routed, Served, Trail, coe_object, confidence

_members = msgspec.json.Decoder(dict[str, Raw])
_MAX_TOLD = 1024
_OWN = ("decision_id", "route_us", "fallback_from", "session_switch")
"""What is said of one request, and not of others with the same decision."""
_MODEL = b'"model":'
_COE = b'"coe":'
_MAX_BEFORE_MODEL = 256
"""Servers name the model among the first members."""


class Told:
    """What is said of a decision and the expert that answers. Decisions come again and again from the cache.

    Attributes:
        lines: header lines.
        facts: the `coe` object without its end.
        model: the expert's name as JSON.
    """

    __slots__ = ("card", "decision", "facts", "lines", "model")

    def __init__(self, served: Served) -> None:
        routed, card = served.routed, served.card
        # Kept, so that their ids stay their own.
        self.decision, self.card = routed.decision, card
        self.lines = _lines(routed, card)
        facts = coe_object("", served)
        for own in _OWN:
            facts.pop(own, None)
        self.facts = msgspec.json.encode(facts)[:-1]
        self.model = msgspec.json.encode(card.name)


_told: dict[tuple[int, int, str], Told] = {}


def told(served: Served) -> Told:
    """What is said of it; for one that fell back or left its session's expert, without saying so."""
    key = (id(served.routed.decision), id(served.card), served.routed.cache)
    found = _told.get(key)
    if found is None:
        if len(_told) >= _MAX_TOLD:
            _told.clear()
        found = _told[key] = Told(served)
    return found


def answer_lines(decision_id: str, served: Served, told: Told) -> bytes:
    """The `x-coe-*` headers of an answer, as lines."""
    routed = served.routed
    lines = b"%bx-coe-decision-id: %b\r\nx-coe-route-us: %d\r\n" % (
        told.lines,
        decision_id.encode("ascii"),
        routed.route_us,
    )
    if routed.switch is not None:
        lines += f"x-coe-session-switch: {routed.switch.why}\r\n".encode("ascii")
    if fallback_from := served.fallback_from:
        lines += _fallback_line(fallback_from)
    return lines


def coe_json(decision_id: str, served: Served, told: Told, *, explain: bool) -> bytes:
    """The `coe` object of an answer, as JSON."""
    routed = served.routed
    if explain or routed.switch is not None or len(served.attempts) > 1:
        return msgspec.json.encode(coe_object(decision_id, served, explain=explain))
    return b'%b,"decision_id":"%b","route_us":%d}' % (
        told.facts,
        decision_id.encode("ascii"),
        routed.route_us,
    )


def decision_lines(decision_id: str, routed: Routed, card: Card) -> bytes:
    """The `x-coe-*` headers of a decision that nobody has answered."""
    lines = b"%bx-coe-decision-id: %b\r\nx-coe-route-us: %d\r\n" % (
        _lines(routed, card),
        decision_id.encode("ascii"),
        routed.route_us,
    )
    if routed.switch is not None:
        lines += f"x-coe-session-switch: {routed.switch.why}\r\n".encode("ascii")
    return lines


def failure_lines(decision_id: str, trail: Trail, card: Card | None) -> bytes:
    """The `x-coe-*` headers of an error: which request it was, and what had been decided by then.

    `card` is of the expert that was asked last, or chosen when none was; None when nothing was decided.
    """
    if trail.routed is None or card is None:
        return b"x-coe-schema: 1\r\nx-coe-decision-id: %b\r\n" % decision_id.encode("ascii")
    lines = decision_lines(decision_id, trail.routed, card)
    if failed := tuple([attempt.expert for attempt in trail.attempts[:-1]]):
        lines += _fallback_line(failed)
    return lines


def _fallback_line(experts: tuple[str, ...]) -> bytes:
    return f"x-coe-fallback-from: {_header_value(','.join(experts))}\r\n".encode("ascii")


def _lines(routed: Routed, card: Card) -> bytes:
    decision = routed.decision
    return (
        f"x-coe-schema: 1\r\nx-coe-category: {_header_value(decision.category)}\r\n"
        f"x-coe-confidence: {confidence(routed):.4g}\r\nx-coe-expert: {_header_value(card.name)}\r\n"
        f"x-coe-expert-kind: {card.kind}\r\nx-coe-cache: {routed.cache}\r\n"
    ).encode("ascii")


def annotate(completion: bytes, model: bytes, facts: bytes, *, checked: bool = False) -> bytes:
    """Set `model` and add `coe` to a completion or chunk; its other members are copied unread.

    Args:
        completion: a JSON object.
        model: the expert's name as JSON.
        facts: the `coe` object as JSON.
        checked: whether it is known that `completion` is one.

    Raises:
        msgspec.DecodeError: it is not a JSON object.
    """
    if checked and (annotated := _spliced(completion, model, facts)):
        return annotated
    members = _members.decode(completion)
    return msgspec.json.encode({**members, "model": Raw(model), "coe": Raw(facts)})


def _spliced(completion: bytes, model: bytes, facts: bytes) -> bytes:
    """`annotate` where `model` is among the first members and what comes before it is plain; else nothing."""
    at = completion.find(_MODEL, 0, _MAX_BEFORE_MODEL)
    before = completion[:at]
    # Without brackets and escapes before it, it is a member of the object itself, and no part of a string.
    if at < 0 or before.count(b"{") != 1 or b"[" in before or b"\\" in before or completion[-1:] != b"}":
        return b""
    if _COE in completion:  # An expert that is coe itself has said so already.
        return b""
    start = at + len(_MODEL)
    start += completion.startswith(b" ", start)
    end = completion.find(b'"', start + 1)
    if not completion.startswith(b'"', start) or b"\\" in completion[start:end]:
        return b""
    return b'%b"model":%b%b,"coe":%b}' % (before, model, completion[end + 1 : -1], facts)


def annotate_first_event(piece: bytes, model: bytes, facts: bytes) -> bytes:
    """`annotate` for the first event of a stream's first piece; what follows it stays as it is.

    Raises:
        msgspec.DecodeError: the event's data is not a JSON object.
    """
    start = piece.index(b"data:") + len(b"data:")
    end = piece.find(b"\n", start)
    end = len(piece) if end < 0 else end
    if piece[end - 1 : end] == b"\r":  # half of the line's end
        end -= 1
    return piece[:start] + b" " + annotate(piece[start:end], model, facts) + piece[end:]


def _header_value(text: str) -> str:
    """Header-safe text: what is not printable ASCII is percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text, safe=" ,")
