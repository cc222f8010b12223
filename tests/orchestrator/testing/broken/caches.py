"""Caches with one defect each. `fails` names the checks of the kit that must notice, and no others."""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import ClassVar

import pytest

from coe.contracts import Decision, DecisionCache
from coe.testing import Clock
from coe.testing.conformance import CacheConformance


class Good:
    """Correct; each defect overrides one part."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.kept: dict[bytes, tuple[Decision, float]] = {}

    async def get(self, key: bytes) -> Decision | None:
        decision, until = self.kept.get(key, (None, 0))
        return decision if self.clock() < until else None

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        self.kept[key] = (decision, self.clock() + ttl_s)

    async def aclose(self) -> None:
        self.kept.clear()


class _Kit(CacheConformance):
    broken: ClassVar[type[Good]] = Good
    fails: ClassVar[tuple[str, ...]] = ()
    patience_s = 0.05

    @pytest.fixture
    def make(self) -> Callable[[], DecisionCache]:
        return self.broken

    @pytest.fixture
    def make_with_clock(self) -> Callable[[Clock], DecisionCache]:
        return self.broken


class TestGood(_Kit):
    pass


class RaisesOnMiss(Good):
    async def get(self, key: bytes) -> Decision | None:
        return self.kept[key][0] if self.clock() < self.kept[key][1] else None


class TestRaisesOnMiss(_Kit):
    broken = RaisesOnMiss
    fails = ("test_a_missing_key_is_a_miss", "test_closes_twice")


class Forgetful(Good):
    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        await super().set(key, dataclasses.replace(decision, excluded=()), ttl_s)


class TestForgetful(_Kit):
    broken = Forgetful
    fails = (
        "test_gives_back_what_it_was_given",
        "test_the_last_write_wins",
        "test_short_lives_are_allowed",
        "test_forgets_after_the_time_to_live",
    )


class ReadsKeysAsText(Good):
    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        key.decode()
        await super().set(key, decision, ttl_s)


class TestReadsKeysAsText(_Kit):
    broken = ReadsKeysAsText
    fails = ("test_gives_back_what_it_was_given",)


class CutsKeys(Good):
    async def get(self, key: bytes) -> Decision | None:
        return await super().get(key[:1])

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        await super().set(key[:1], decision, ttl_s)


class TestCutsKeys(_Kit):
    broken = CutsKeys
    fails = ("test_gives_back_what_it_was_given", "test_concurrent_calls_do_not_mix")


class FirstWriteWins(Good):
    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        if key not in self.kept:
            await super().set(key, decision, ttl_s)


class TestFirstWriteWins(_Kit):
    broken = FirstWriteWins
    fails = ("test_the_last_write_wins",)


class WholeSeconds(Good):
    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        if not int(ttl_s):
            raise ValueError("invalid expire time")
        await super().set(key, decision, int(ttl_s))


class TestWholeSeconds(_Kit):
    broken = WholeSeconds
    fails = ("test_short_lives_are_allowed",)


class KeepsForEver(Good):
    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        await super().set(key, decision, 1e9)


class TestKeepsForEver(_Kit):
    broken = KeepsForEver
    fails = ("test_forgets_after_the_time_to_live",)


class MixesKeys(Good):
    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        self.key = key
        await asyncio.sleep(0)
        await super().set(self.key, decision, ttl_s)


class TestMixesKeys(_Kit):
    broken = MixesKeys
    fails = ("test_concurrent_calls_do_not_mix",)


class ClosesOnce(Good):
    closed = False

    async def aclose(self) -> None:
        assert not self.closed
        self.closed = True


class TestClosesOnce(_Kit):
    broken = ClosesOnce
    fails = ("test_closes_twice",)


class Refused(Good):
    async def get(self, key: bytes) -> Decision | None:
        raise ConnectionRefusedError


class TestRefused(_Kit):
    fails = ("test_an_unreachable_store_is_a_miss",)

    @pytest.fixture
    def make_unreachable(self) -> Callable[[], DecisionCache]:
        return Refused
