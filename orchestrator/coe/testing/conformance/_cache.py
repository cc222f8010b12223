"""What every decision cache must do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from coe.contracts import Decision, DecisionCache, Excluded, Ranked, Reason
from coe.testing._clock import Clock

_POLL_S = 0.005

FULL = Decision(
    expert="alpha",
    ranked=(Ranked("alpha", 0.75), Ranked("beta", None)),
    reason=Reason.CATEGORY,
    category="café — 数学",
    probabilities=(("café — 数学", 0.7), ("code", 0.1 + 0.2)),
    uncertainty=1 / 3,
    excluded=(Excluded("gamma", "no `tools`"),),
    revision="r1",
)
"""A decision with every field filled in."""

BARE = Decision(expert="beta", ranked=(Ranked("beta"),), reason=Reason.UNMAPPED)
"""A decision with defaults only."""

KEYS = (b"k", b"k2", b"\x00" * 32, b"\xff\r\n $-1\r\n", b"a b", bytes(range(256)))
"""Keys are opaque bytes: prefixes of each other, zeros, line ends, spaces."""


class CacheConformance:
    """Checks of a `DecisionCache`. Override `make`.

    A cache may write behind `set`: the kit waits for what it stored to appear.

    Attributes:
        patience_s: how long it waits, in seconds.
        timeout_s: longest time for one check, in seconds.
    """

    patience_s: ClassVar[float] = 2
    timeout_s: ClassVar[float] = 30

    @pytest.fixture
    def make(self) -> Callable[[], DecisionCache]:
        """Makes a new, empty cache. Called inside the event loop."""
        raise NotImplementedError("override the fixture `make`")

    @pytest.fixture
    def make_with_clock(self) -> Callable[[Clock], DecisionCache] | None:
        """Makes a cache whose time is the clock's; None when it cannot be given one."""
        return None

    @pytest.fixture
    def make_unreachable(self) -> Callable[[], DecisionCache] | None:
        """Makes a cache whose store cannot be reached; None for one without a store."""
        return None

    def test_a_missing_key_is_a_miss(self, make: Callable[[], DecisionCache]) -> None:
        """None, and no error."""

        async def check(cache: DecisionCache) -> None:
            for key in KEYS:
                assert await cache.get(key) is None

        self._with(make, check)

    def test_gives_back_what_it_was_given(self, make: Callable[[], DecisionCache]) -> None:
        """Every field, exactly, under keys of any bytes."""

        async def check(cache: DecisionCache) -> None:
            stored = {key: (FULL, BARE)[number % 2] for number, key in enumerate(KEYS)}
            for key, decision in stored.items():
                await cache.set(key, decision, 60)
            for key, decision in stored.items():
                await self._expect(cache, key, decision)

        self._with(make, check)

    def test_the_last_write_wins(self, make: Callable[[], DecisionCache]) -> None:
        """A second `set` replaces the first."""

        async def check(cache: DecisionCache) -> None:
            await cache.set(b"key", FULL, 60)
            await self._expect(cache, b"key", FULL)
            await cache.set(b"key", BARE, 60)
            await self._expect(cache, b"key", BARE)

        self._with(make, check)

    def test_short_lives_are_allowed(self, make: Callable[[], DecisionCache]) -> None:
        """A part of a second is a time to live like any other."""

        async def check(cache: DecisionCache) -> None:
            await cache.set(b"key", FULL, 0.0004)
            await cache.set(b"other", FULL, 59.5)
            await self._expect(cache, b"other", FULL)
            assert await cache.get(b"key") in (None, FULL)

        self._with(make, check)

    def test_forgets_after_the_time_to_live(
        self, make_with_clock: Callable[[Clock], DecisionCache] | None
    ) -> None:
        """Kept until then, a miss from then on."""
        if make_with_clock is None:
            pytest.skip("no `make_with_clock`")
        clock = Clock()

        async def check(cache: DecisionCache) -> None:
            await cache.set(b"short", FULL, 10)
            await cache.set(b"long", BARE, 100)
            clock.advance(9)
            await self._expect(cache, b"short", FULL)
            clock.advance(2)
            assert await cache.get(b"short") is None, "kept beyond its time to live"
            await self._expect(cache, b"long", BARE)

        self._with(lambda: make_with_clock(clock), check)

    def test_concurrent_calls_do_not_mix(self, make: Callable[[], DecisionCache]) -> None:
        """Each key gets its own decision, however many are asked for at once."""

        async def check(cache: DecisionCache) -> None:
            numbers = range(50)

            def decision(number: int) -> Decision:
                return Decision(expert=f"e{number}", ranked=(Ranked(f"e{number}"),), reason=Reason.CATEGORY)

            await asyncio.gather(*(cache.set(b"key-%d" % each, decision(each), 60) for each in numbers))
            await asyncio.gather(*(self._expect(cache, b"key-%d" % each, decision(each)) for each in numbers))
            got = await asyncio.gather(*(cache.get(b"key-%d" % (each // 2)) for each in numbers))
            assert got == [decision(each // 2) for each in numbers]

        self._with(make, check)

    def test_closes_twice(self, make: Callable[[], DecisionCache]) -> None:
        """Closing again does no harm, nor does a late lookup."""

        async def check(cache: DecisionCache) -> None:
            await cache.set(b"key", FULL, 60)
            await cache.aclose()
            assert await cache.get(b"key") in (None, FULL)

        self._with(make, check)

    def test_an_unreachable_store_is_a_miss(
        self, make_unreachable: Callable[[], DecisionCache] | None
    ) -> None:
        """Neither reading nor writing raises: routing goes on without the cache."""
        if make_unreachable is None:
            pytest.skip("no `make_unreachable`")

        async def check(cache: DecisionCache) -> None:
            await cache.set(b"key", FULL, 60)
            assert await cache.get(b"key") is None

        self._with(make_unreachable, check)

    async def _expect(self, cache: DecisionCache, key: bytes, decision: Decision) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self.patience_s
        # What is waited for may be in another process, which sets no event here.
        while (got := await cache.get(key)) != decision and clock() < end:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        assert got == decision

    def _with(
        self, make: Callable[[], DecisionCache], check: Callable[[DecisionCache], Awaitable[None]]
    ) -> None:
        async def run() -> None:
            cache = make()
            try:
                async with asyncio.timeout(self.timeout_s):
                    await check(cache)
            finally:
                await cache.aclose()

        asyncio.run(run())
