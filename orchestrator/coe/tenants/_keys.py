"""API keys: how they look, and what is kept of them.

A key is `coe-ID-SECRET` with a secret of 256 random bits. Of a key only the SHA-256 is kept. A slow, salted
hash protects passwords, which can be guessed; nobody guesses 256 random bits, so a fast hash gives nothing
away, and it may be computed for every request.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable

import msgspec

PREFIX = "coe-"
ID_LENGTH = 12
_SECRET_BYTES = 32
_ID_END = len(PREFIX) + ID_LENGTH


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of one API key.

    Attributes:
        id: the part of the key that is no secret: 12 hexadecimal digits.
        tenant: whose it is.
        hash: SHA-256 of the whole key, hexadecimal.
        created_at, expires_at, revoked_at: seconds since 1970; None for what has not happened or never will.
        name: for people.
    """

    id: str
    tenant: str
    hash: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    name: str = ""

    def why_not(self, now: float) -> str:
        """Why it does not open at `now`, in seconds since 1970; empty when it does."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else ""


def new_key(
    tenant: str,
    random: Callable[[int], bytes],
    now: float,
    *,
    name: str = "",
    expires_at: int | None = None,
) -> tuple[Key, str]:
    """A new key: what is kept, and the secret text that its owner gets.

    Args:
        tenant: whose it is.
        random: gives n random bytes, fit for secrets.
        now: seconds since 1970.
        name: for people.
        expires_at: seconds since 1970.
    """
    key_id = random(ID_LENGTH // 2).hex()
    secret = urlsafe_b64encode(random(_SECRET_BYTES)).rstrip(b"=").decode()
    text = f"{PREFIX}{key_id}-{secret}"
    return Key(key_id, tenant, digest(text), int(now), expires_at, None, name), text


def digest(text: str) -> str:
    """SHA-256 of a key as its owner has it, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_id_of(text: str) -> str:
    """The id within a key, by which it is found; empty for a text that is no key."""
    return (
        text[len(PREFIX) : _ID_END] if text.startswith(PREFIX) and text[_ID_END : _ID_END + 1] == "-" else ""
    )


def matches(text: str, kept: str) -> bool:
    """Whether `kept` is the hash of this key, in a time that does not tell how much of it fits."""
    return hmac.compare_digest(digest(text), kept)
