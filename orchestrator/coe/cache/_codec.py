"""Decisions as bytes, for stores outside this process. Whatever comes back from there is checked."""

from __future__ import annotations

import msgspec

from coe.contracts import Decision

SCHEMA = 2
"""Version of the stored form, its first byte. Raise it whenever a field of `Decision` changes."""

_HEAD = bytes([SCHEMA])
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Decision).decode


def encode(key: bytes, decision: Decision) -> bytes:
    """The stored form: schema byte, key, MessagePack of the decision.

    The key is inside so that a value that ends up under another key is not believed.
    """
    return _HEAD + key + _encode(decision)


def decode(key: bytes, stored: bytes) -> Decision | None:
    """The decision, or None when the bytes are not a sound decision stored under this very key."""
    start = 1 + len(key)
    if stored[:1] != _HEAD or stored[1:start] != key:
        return None
    try:
        decision = _decode(memoryview(stored)[start:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decision if _is_sound(decision) else None


def _is_sound(decision: Decision) -> bool:
    """Whether it keeps the promises that the types alone do not: see `Decision`."""
    return (
        bool(decision.ranked)
        and decision.ranked[0].expert == decision.expert
        and 0.0 <= decision.uncertainty <= 1.0
        and 0.0 < decision.propensity <= 1.0
        and all(0.0 <= probability <= 1.0 for _, probability in decision.probabilities)
    )
