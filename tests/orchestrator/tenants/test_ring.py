"""The keys of a running gateway."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import msgspec
import pytest

from coe.errors import ConfigError, InvalidKey
from coe.tenants import KeyRing, change_keys, new_key
from coe.testing import Clock

WALL = 1_773_057_600.0


def issue(path: Path, tenant: str, *, expires_at: int | None = None) -> str:
    key, text = new_key(tenant, secrets.token_bytes, WALL, expires_at=expires_at)
    change_keys(path, lambda keys: (*keys, key))
    return text


def revoke_all(path: Path) -> None:
    change_keys(path, lambda keys: [msgspec.structs.replace(key, revoked_at=1) for key in keys])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_each_key_opens_for_its_tenant(path: Path) -> None:
    acme, other = issue(path, "acme"), issue(path, "other")
    ring = KeyRing(path, Clock(), Clock(WALL))
    assert (ring.tenant_of(acme), ring.tenant_of(other)) == ("acme", "other")


def test_nothing_else_opens(path: Path) -> None:
    acme, other = issue(path, "acme"), issue(path, "other")
    ring = KeyRing(path, Clock(), Clock(WALL))
    swapped = acme[:17] + other[17:]
    for wrong in (None, "", "sk-123", acme[:-1], acme + "x", acme.upper(), f" {acme}", swapped, "coe-é" * 12):
        with pytest.raises(InvalidKey) as caught:
            ring.tenant_of(wrong)
        assert caught.value.status == 401
        assert acme[17:] not in str(caught.value)
        assert not wrong or wrong not in str(caught.value)


def test_a_key_expires(path: Path) -> None:
    text, wall = issue(path, "acme", expires_at=int(WALL) + 10), Clock(WALL)
    ring = KeyRing(path, Clock(), wall)
    wall.advance(9.9)
    assert ring.tenant_of(text) == "acme"
    wall.advance(0.2)
    with pytest.raises(InvalidKey, match="is expired"):
        ring.tenant_of(text)


def test_the_file_is_followed_and_looked_at_once_a_second(path: Path) -> None:
    text, clock = issue(path, "acme"), Clock()
    ring = KeyRing(path, clock, Clock(WALL))
    revoke_all(path)
    clock.advance(0.9)
    assert ring.tenant_of(text) == "acme"
    clock.advance(0.2)
    with pytest.raises(InvalidKey, match="is revoked"):
        ring.tenant_of(text)
    later = issue(path, "later")
    clock.advance(1.1)
    assert ring.tenant_of(later) == "later"


@pytest.mark.parametrize("break_it", [Path.unlink, lambda path: path.write_text("{")])
def test_a_broken_file_keeps_the_last_good_keys(
    path: Path, break_it, caplog: pytest.LogCaptureFixture
) -> None:
    text, clock = issue(path, "acme"), Clock()
    ring = KeyRing(path, clock, Clock(WALL))
    break_it(path)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            clock.advance(1.1)
            assert ring.tenant_of(text) == "acme"
    assert ring.reload_failures == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert text[17:] not in caplog.text


def test_a_ring_without_a_file_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        KeyRing(path, Clock(), Clock())
