"""The LRU against a model that is too simple to be wrong."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coe.cache import MemoryCache
from coe.contracts import Decision, Ranked, Reason

keys = st.sampled_from([b"a", b"b", b"c", b"d"])


def decision(expert: str) -> Decision:
    return Decision(expert=expert, ranked=(Ranked(expert),), reason=Reason.CATEGORY)


class LeastRecentlyUsed(RuleBasedStateMachine):
    """The model is a list of (key, decision, end), the least recently used first."""

    @initialize(entries=st.integers(1, 3))
    def open(self, entries):
        self.now = 0.0
        self.entries = entries
        self.cache = MemoryCache(entries, lambda: self.now)
        self.model = []

    @rule(key=keys, expert=st.sampled_from("xyz"), ttl_s=st.integers(1, 20))
    def put(self, key, expert, ttl_s):
        self.cache.put(key, decision(expert), ttl_s)
        self.model = [row for row in self.model if row[0] != key]
        self.model.append((key, decision(expert), self.now + ttl_s))
        self.model = self.model[-self.entries :]

    @rule(key=keys)
    def peek(self, key):
        row = next((row for row in self.model if row[0] == key), None)
        if row:
            self.model.remove(row)
            if row[2] > self.now:
                self.model.append(row)
            else:
                row = None
        assert self.cache.peek(key) == (row[1] if row else None)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def holds_what_the_model_holds(self):
        assert len(self.cache) == len(self.model)


TestLeastRecentlyUsed = LeastRecentlyUsed.TestCase
TestLeastRecentlyUsed.settings = settings(max_examples=60, stateful_step_count=30)


def test_what_was_looked_at_stays_and_what_was_not_goes(clock):
    cache = MemoryCache(2, clock)
    cache.put(b"a", decision("x"), 5)
    cache.put(b"b", decision("y"), 5)
    cache.peek(b"a")
    cache.put(b"c", decision("z"), 5)
    assert [cache.peek(key) for key in (b"a", b"b", b"c")] == [decision("x"), None, decision("z")]


def test_the_contract_of_a_cache_is_the_same_store(clock):
    async def body():
        cache = MemoryCache(2, clock)
        await cache.set(b"a", decision("x"), 5)
        found = await cache.get(b"a")
        clock.advance(5)
        late = await cache.get(b"a")
        await cache.set(b"a", decision("x"), 5)
        await cache.aclose()
        return found, late, len(cache)

    assert asyncio.run(body()) == (decision("x"), None, 0)


def test_room_for_nothing_is_refused(clock):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        MemoryCache(0, clock)
