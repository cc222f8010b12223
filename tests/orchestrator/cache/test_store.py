"""Memory, then Redis, then the router: what is asked, what is kept, what is believed."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from coe.cache import DecisionStore, MemoryCache, RedisCache, Source, decision_key
from coe.contracts import Features, Reason


@pytest.fixture
def tenant():
    """A tenant that no other test uses, for keys of its own in the shared server."""
    return uuid.uuid4().hex


@pytest.fixture
def run(redis_url, clock):
    """Run `body(replica, …)` with as many stores over one Redis as it takes, each a process's own."""

    def run(body, replicas=1, shared=True, entries=100):
        async def main():
            stores = [
                DecisionStore(
                    MemoryCache(entries, clock),
                    ttl_s=60,
                    shared=RedisCache(redis_url, deadline_s=5, clock=clock) if shared else None,
                )
                for _ in range(replicas)
            ]
            try:
                return await asyncio.wait_for(body(*stores), 30)
            finally:
                for store in stores:
                    await store.aclose()

        return asyncio.run(main())

    return run


class Router:
    """Counts how often it decides, and fails when told to."""

    def __init__(self, decision, error=None):
        self.calls = 0
        self._decision = decision
        self._error = error

    def __call__(self):
        self.calls += 1
        if self._error:
            raise self._error
        return self._decision


def key_for(tenant, text="hello", revision="r1"):
    return decision_key(tenant, revision, "pool", Features(text=text), router="auto")


async def written(store):
    while store.shared.stats().writes < 1:
        await asyncio.sleep(0.001)


def test_computed_then_from_memory_then_shared_with_another_replica(run, tenant, decide):
    key, router = key_for(tenant), Router(decide())

    async def body(one, other):
        assert one.peek(key) is None
        first = await one.get_or_compute(key, "r1", router)
        second = await one.get_or_compute(key, "r1", router)
        await written(one)
        third = await other.get_or_compute(key, "r1", router)
        assert other.peek(key) == decide()
        return [first, second, third], one.stats(), other.stats()

    answers, one, other = run(body, replicas=2)
    assert answers == [(decide(), source) for source in (Source.COMPUTED, Source.MEMORY, Source.SHARED)]
    assert router.calls == 1
    assert (one.memory, one.shared, one.computed, one.entries) == (1, 0, 1, 1)
    assert (other.memory, other.shared, other.computed, other.entries) == (1, 1, 0, 1)


@pytest.mark.parametrize("shared", [True, False])
def test_concurrent_identical_requests_share_one_computation(run, tenant, decide, shared):
    key, router = key_for(tenant), Router(decide())

    async def body(store):
        return await asyncio.gather(*(store.get_or_compute(key, "r1", router) for _ in range(20)))

    answers = run(body, shared=shared)
    assert [decision for decision, _ in answers] == [decide()] * 20
    assert [source for _, source in answers].count(Source.COMPUTED) == 1
    assert router.calls == 1


def test_when_the_first_of_many_goes_away_the_others_are_served(run, tenant, decide):
    key, router = key_for(tenant), Router(decide())

    async def body(store):
        tasks = [asyncio.create_task(store.get_or_compute(key, "r1", router)) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = run(body)
    assert isinstance(first, asyncio.CancelledError)
    assert [decision for decision, _ in others] == [decide()] * 4
    assert router.calls == 1


def test_what_the_router_raises_is_raised_and_not_kept(run, tenant, decide):
    key, broken, router = key_for(tenant), Router(None, RuntimeError("broken")), Router(decide())

    async def body(store):
        failed = await asyncio.gather(
            *(store.get_or_compute(key, "r1", broken) for _ in range(3)), return_exceptions=True
        )
        return failed, await store.get_or_compute(key, "r1", router)

    failed, after = run(body)
    assert [str(error) for error in failed] == ["broken"] * 3
    assert after == (decide(), Source.COMPUTED)


def test_tenants_never_share(run, tenant, decide):
    mine, yours = Router(decide("mine")), Router(decide("yours"))

    async def body(one, other):
        await one.get_or_compute(key_for(tenant), "r1", mine)
        await written(one)
        same_process = await one.get_or_compute(key_for(tenant + "2"), "r1", yours)
        other_process = await other.get_or_compute(key_for(tenant + "3"), "r1", yours)
        return same_process, other_process

    assert run(body, replicas=2) == ((decide("yours"), Source.COMPUTED), (decide("yours"), Source.COMPUTED))
    assert mine.calls == 1


def test_a_shared_decision_of_another_revision_is_refused_and_replaced(run, tenant, decide):
    """As when another program writes into the same Redis: the key alone is not proof enough."""
    key, router = key_for(tenant), Router(decide("right", revision="r1"))

    async def body(one, other):
        await one.shared.set(key, decide("wrong", revision="r0"), 60)
        await written(one)
        first = await one.get_or_compute(key, "r1", router)
        while one.shared.stats().writes < 2:
            await asyncio.sleep(0.001)
        second = await other.get_or_compute(key, "r1", router)
        return first, second, one.stats().refused

    right = decide("right", revision="r1")
    assert run(body, replicas=2) == ((right, Source.COMPUTED), (right, Source.SHARED), 1)


def test_a_shared_decision_that_does_not_fit_is_refused(run, tenant, decide):
    key, router = key_for(tenant), Router(decide("known"))

    async def body(one, other):
        await one.get_or_compute(key, "r1", Router(decide("unknown")))
        await written(one)
        answer = await other.get_or_compute(key, "r1", router, lambda found: found.expert == "known")
        return answer, other.stats().refused

    assert run(body, replicas=2) == ((decide("known"), Source.COMPUTED), 1)


def test_connecting_early_asks_redis_and_counts_no_decision(run):
    async def body(store):
        await store.connect()
        return store.shared.stats().batches, store.stats()

    batches, stats = run(body)
    assert batches == 1
    assert (stats.memory, stats.shared, stats.computed) == (0, 0, 0)


@pytest.mark.parametrize("settings", [{"revision": "r0"}, {"reason": Reason.ROUTER_FAILED}])
def test_a_makeshift_decision_is_given_but_not_kept(run, tenant, decide, settings):
    key, router = key_for(tenant), Router(decide(**settings))

    async def body(store):
        answers = [await store.get_or_compute(key, "r1", router) for _ in range(2)]
        return answers, store.shared.stats().writes + store.shared.stats().writes_dropped

    answers, writes = run(body)
    assert answers == [(decide(**settings), Source.COMPUTED)] * 2
    assert writes == 0


def test_a_cache_plugin_that_raises_fails_no_request(clock, tenant, decide):
    class Broken:
        async def get(self, key):
            raise OSError("no such host")

        async def set(self, key, decision, ttl_s):
            raise OSError("no such host")

        async def aclose(self):
            pass

    async def body():
        store = DecisionStore(MemoryCache(10, clock), ttl_s=60, shared=Broken())
        answer = await store.get_or_compute(key_for(tenant), "r1", Router(decide()))
        again = await store.get_or_compute(key_for(tenant), "r1", Router(decide()))
        return answer, again, store.stats().failures

    assert asyncio.run(body()) == ((decide(), Source.COMPUTED), (decide(), Source.MEMORY), 2)


def test_redis_is_not_blamed_for_a_router_that_keeps_the_event_loop_busy(redis_url, clock, tenant, decide):
    """Sixteen requests at once, each decided in 1 ms: a turn of the loop takes longer than the deadline."""

    def compute():
        time.sleep(0.001)
        return decide()

    async def body():
        shared = RedisCache(redis_url, deadline_s=0.005, clock=clock)
        store = DecisionStore(MemoryCache(1000, clock), ttl_s=60, shared=shared)
        await store.connect()

        async def caller(number):
            for n in range(10):
                await store.get_or_compute(key_for(tenant, f"{number} {n}"), "r1", compute)

        await asyncio.gather(*(caller(number) for number in range(16)))
        await store.aclose()
        return shared.stats()

    stats = asyncio.run(asyncio.wait_for(body(), 30))
    assert (stats.breaker, stats.skipped) == ("closed", 0)


def test_killing_redis_changes_nothing_for_the_caller(redis_server, clock, tenant, decide):
    router = Router(decide())

    async def body():
        store = DecisionStore(
            MemoryCache(100, clock), ttl_s=60, shared=RedisCache(redis_server.url, deadline_s=5, clock=clock)
        )
        answers = []
        for n in range(20):
            if n == 5:
                redis_server.kill()
            answers.append(await store.get_or_compute(key_for(tenant, str(n)), "r1", router))
        answers.append(await store.get_or_compute(key_for(tenant, "0"), "r1", router))
        stats = store.shared.stats()
        await store.aclose()
        return answers, stats

    answers, stats = asyncio.run(asyncio.wait_for(body(), 30))
    assert answers == [(decide(), Source.COMPUTED)] * 20 + [(decide(), Source.MEMORY)]
    assert (stats.breaker, stats.skipped) == ("open", 10)
