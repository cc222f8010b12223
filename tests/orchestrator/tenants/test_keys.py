"""How keys look and what is kept of them."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.tenants import Key, new_key
from coe.tenants._keys import digest, key_id_of, matches


def test_a_key_is_256_random_bits_and_only_its_hash_is_kept() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return secrets.token_bytes(count)

    key, text = new_key("acme", random, 1000.9, name="ci", expires_at=2000)
    assert text.startswith(f"coe-{key.id}-")
    assert len(text) == 60
    assert asked == [6, 32]
    assert key.hash == hashlib.sha256(text.encode()).hexdigest()
    assert (key.tenant, key.name, key.created_at, key.expires_at) == ("acme", "ci", 1000, 2000)
    assert text.rsplit("-", 1)[1] not in repr(key)


def test_keys_differ() -> None:
    texts = {new_key("acme", secrets.token_bytes, 0)[1] for _ in range(100)}
    assert len(texts) == 100


def test_the_id_is_found_in_the_key() -> None:
    key, text = new_key("acme", secrets.token_bytes, 0)
    assert key_id_of(text) == key.id
    assert key_id_of("sk-proj-123") == ""
    assert key_id_of("coe-123") == ""


@given(st.text())
def test_any_text_may_be_offered_as_a_key(text: str) -> None:
    assert len(key_id_of(text)) in (0, 12)
    assert matches(text, digest(text))
    assert not matches(text + "x", digest(text))


def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def spy(left: str, right: str) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert matches("coe-a", digest("coe-a"))
    assert not matches("coe-b", digest("coe-a"))
    assert compared == [(digest("coe-a"), digest("coe-a")), (digest("coe-b"), digest("coe-a"))]


def test_expired_and_revoked_keys_say_so() -> None:
    key = Key("id", "acme", "hash", created_at=0, expires_at=100)
    assert key.why_not(99.9) == ""
    assert key.why_not(100) == "expired"
    assert Key("id", "acme", "hash", created_at=0, revoked_at=1).why_not(50) == "revoked"
