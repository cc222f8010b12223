"""The key of a decision: everything that the decision depends on, hashed."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from coe.contracts import Features

KEY_BYTES = 20
"""Length of a key. 160 bits: a collision is not expected before 10^24 keys."""

# Sets are written sorted, so that every process makes the same key whatever its hash seed is.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_ENCODED = b"coe-key-2 "
_ESCAPED = b"coe-key-2-ascii "


def decision_key(tenant: str, revision: str, pool_digest: str, features: Features, *, router: str) -> bytes:
    """The key under which a decision is kept.

    MessagePack carries the length of every value, so no two different sets of arguments are written alike,
    and it writes every field of `Features`, those added later too.

    Args:
        tenant: whose request it is: tenants never share an entry.
        revision: `Router.revision`.
        pool_digest: `PoolView.digest` of the view that the router would be given.
        features: what the router would look at.
        router: the router's name in the configuration, which is the virtual model that was asked for.

    Returns:
        `KEY_BYTES` bytes.
    """
    parts = (tenant, revision, pool_digest, router, features)
    try:
        encoded, kind = _encode(parts), _ENCODED
    except UnicodeEncodeError:  # A lone surrogate, which UTF-8 cannot carry but a Python string can.
        encoded, kind = _escape(parts), _ESCAPED
    # At half the cost of blake2b, because processors have instructions for it.
    return sha256(kind + encoded, usedforsecurity=False).digest()[:KEY_BYTES]


def _escape(parts: tuple[Any, ...]) -> bytes:
    """The same content as Python literals in ASCII, where a lone surrogate is an escape."""
    return ascii(msgspec.to_builtins(parts, order="deterministic")).encode("ascii")
