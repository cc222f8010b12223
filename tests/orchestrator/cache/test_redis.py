"""The Redis cache against a real server, well and hurt."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import uuid

import pytest

from coe.cache import RedisCache
from coe.cache._redis import PREFIX
from coe.errors import ConfigError

# Long where the test wants the answer, short where it wants the deadline: no test depends on a duration.
PATIENT_S = 5.0
SHORT_S = 0.02


@pytest.fixture
def key():
    """A key that no other test uses."""
    return uuid.uuid4().bytes + b"0123"


def open_cache(url, clock, deadline_s=PATIENT_S, failures=2, open_s=10.0):
    return RedisCache(url, deadline_s=deadline_s, clock=clock, failures=failures, open_s=open_s)


def run(url, clock, body, **settings):
    """Run `body(cache)` in an event loop of its own."""

    async def main():
        cache = open_cache(url, clock, **settings)
        try:
            return await asyncio.wait_for(body(cache), 30)
        finally:
            await cache.aclose()

    return asyncio.run(main())


async def written(cache, count=1):
    """Wait until `count` decisions have been written or dropped."""
    while cache.stats().writes + cache.stats().writes_dropped < count:
        await asyncio.sleep(0.001)


def test_a_decision_comes_back_in_another_process_whole(redis_url, clock, key, decide):
    async def write(cache):
        assert await cache.get(key) is None
        await cache.set(key, decide(), 60)

    async def read(cache):
        return await cache.get(key), cache.stats()

    run(redis_url, clock, write)
    decision, stats = run(redis_url, clock, read)
    assert decision == decide()
    assert (stats.hits, stats.misses, stats.batches, stats.breaker) == (1, 0, 1, "closed")


def test_a_decision_expires_in_redis(redis_server, clock, key, decide):
    async def body(cache):
        await cache.set(key, decide(), 60)

    run(redis_server.url, clock, body)
    with redis_server.client() as client:
        assert 50_000 < client.pttl(PREFIX + key) <= 60_000


def test_lookups_of_one_turn_are_one_exchange(redis_url, clock, key, decide):
    keys = [key + bytes([n]) for n in range(50)]

    async def body(cache):
        for each in keys[::2]:
            await cache.set(each, decide(each.hex()), 60)
        await written(cache, 25)
        found = await asyncio.gather(*(cache.get(each) for each in keys))
        return found, cache.stats()

    found, stats = run(redis_url, clock, body)
    assert found == [decide(each.hex()) if n % 2 == 0 else None for n, each in enumerate(keys)]
    assert (stats.batches, stats.hits, stats.misses, stats.writes) == (1, 25, 25, 25)


def test_the_same_key_is_looked_up_once_and_given_to_all(redis_url, clock, key, decide):
    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        found = await asyncio.gather(*(cache.get(key) for _ in range(20)))
        return found, cache.stats()

    found, stats = run(redis_url, clock, body)
    assert found == [decide()] * 20
    assert stats.hits == 1


def test_a_caller_that_goes_away_takes_nothing_from_the_others(redis_url, clock, key, decide):
    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        first, *others = [asyncio.create_task(cache.get(key)) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert await cache.get(key) == decide()
        return found

    first, *others = run(redis_url, clock, body)
    assert isinstance(first, asyncio.CancelledError)
    assert others == [decide()] * 2


def test_a_lookup_whose_only_caller_has_gone_ends(redis_url, clock, key):
    async def body(cache):
        lookup = asyncio.create_task(cache.get(key))
        await asyncio.sleep(0)
        lookup.cancel()
        await asyncio.wait([lookup])
        assert await cache.get(key) is None
        return cache.stats().breaker

    assert run(redis_url, clock, body) == "closed"


@pytest.mark.parametrize("stored", [b"", b"\x01", b"garbage", b"\xff" * 200, "not ours"])
def test_a_value_that_is_not_ours_is_a_miss_and_is_mended(redis_server, clock, key, decide, stored):
    with redis_server.client() as client:
        client.set(PREFIX + key, stored)

    async def body(cache):
        first = await cache.get(key)
        await cache.set(key, decide(), 60)
        await written(cache)
        return first, await cache.get(key), cache.stats()

    first, second, stats = run(redis_server.url, clock, body)
    assert (first, second) == (None, decide())
    assert (stats.corrupt, stats.misses, stats.hits, stats.errors) == (1, 1, 1, 0)


def test_a_value_of_another_redis_type_is_a_miss_and_is_mended(redis_server, clock, key, decide):
    with redis_server.client() as client:
        client.rpush(PREFIX + key, b"a list")

    async def body(cache):
        first = await cache.get(key)
        await cache.set(key, decide(), 60)
        await written(cache)
        return first, await cache.get(key), cache.stats()

    first, second, stats = run(redis_server.url, clock, body)
    assert (first, second) == (None, decide())
    assert (stats.errors, stats.breaker) == (0, "closed")


def test_a_value_moved_to_another_key_is_not_believed(redis_server, clock, key, decide):
    other = bytes(reversed(key))

    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        with redis_server.client() as client:
            client.copy(PREFIX + key, PREFIX + other)
        return await cache.get(key), await cache.get(other), cache.stats()

    right, wrong, stats = run(redis_server.url, clock, body)
    assert (right, wrong, stats.corrupt) == (decide(), None, 1)


def test_flushall_is_a_miss(redis_server, clock, key, decide):
    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        with redis_server.client() as client:
            client.flushall()
        return await cache.get(key), cache.stats()

    decision, stats = run(redis_server.url, clock, body)
    assert decision is None
    assert (stats.misses, stats.errors, stats.breaker) == (1, 0, "closed")


def test_a_killed_server_costs_misses_then_nothing_and_is_found_again(
    redis_server, clock, key, decide, caplog
):
    async def body(cache):
        assert await cache.get(key) is None
        redis_server.kill()
        assert [await cache.get(key) for _ in range(2)] == [None, None]
        assert cache.stats().breaker == "open"
        batches = cache.stats().batches
        assert [await cache.get(key) for _ in range(10)] == [None] * 10
        await cache.set(key, decide(), 60)
        stats = cache.stats()
        assert (stats.batches, stats.skipped, stats.writes_dropped) == (batches, 10, 1)

        clock.advance(10)
        assert await cache.get(key) is None, "the probe fails too"
        assert (cache.stats().breaker, cache.stats().batches) == ("open", batches + 1)

        await asyncio.to_thread(redis_server.start)
        assert await cache.get(key) is None
        assert cache.stats().batches == batches + 1, "not before its time"
        clock.advance(10)
        assert await cache.get(key) is None
        assert cache.stats().breaker == "closed"
        await cache.set(key, decide(), 60)
        await written(cache, 2)
        return await cache.get(key)

    with caplog.at_level(logging.INFO, "coe.cache"):
        assert run(redis_server.url, clock, body) == decide()
    assert [record.msg.split()[0] for record in caplog.records] == ["redis_away", "redis_back"]


def test_a_restart_between_lookups_costs_nothing(redis_server, clock, key, decide):
    async def body(cache):
        assert await cache.get(key) is None
        redis_server.kill()
        await asyncio.to_thread(redis_server.start)
        await cache.set(key, decide(), 60)
        await written(cache)
        return await cache.get(key), cache.stats()

    decision, stats = run(redis_server.url, clock, body)
    assert decision == decide()
    assert (stats.errors, stats.timeouts) == (0, 0)


def test_a_server_that_hangs_is_given_up_at_the_deadline(redis_server, clock, key, decide):
    async def body(cache):
        assert await cache.get(key) is None
        redis_server.pause()
        # Nothing will ever answer: only the deadline can end these.
        assert await asyncio.gather(*(cache.get(key + bytes([n])) for n in range(5))) == [None] * 5
        assert await cache.get(key) is None
        stats = cache.stats()
        assert (stats.timeouts, stats.breaker) == (6, "open")
        redis_server.resume()
        clock.advance(10)
        while cache.stats().breaker != "closed":
            await cache.get(key)
            clock.advance(10)
        await cache.set(key, decide(), 60)
        await written(cache)
        while (decision := await cache.get(key)) is None:
            clock.advance(10)
        return decision

    # A lookup on a busy machine may miss this deadline though the server is well: hence the loops above.
    assert run(redis_server.url, clock, body, deadline_s=SHORT_S) == decide()


def test_an_exchange_that_nobody_waits_for_is_ended_and_its_connection_closed(redis_server, clock, key):
    with redis_server.client() as client:
        client.config_set("requirepass", "secret")
    redis_server.pause()

    async def body(cache):
        # A password makes the server answer before the connection is ready, and it does not.
        assert await cache.get(key) is None
        while len(asyncio.all_tasks()) > 2:  # This one and the one that waits for it.
            await asyncio.sleep(0.01)

    run(redis_server.url.replace("redis://", "redis://:secret@"), clock, body, deadline_s=SHORT_S)
    gc.collect()  # A connection left open would warn, and warnings are errors.


def test_more_lookups_than_lanes_still_end_when_the_server_hangs(redis_server, clock, key):
    redis_server.pause()

    async def body(cache):
        lookups = []
        for n in range(30):
            lookups.append(asyncio.create_task(cache.get(key + bytes([n]))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        found = await asyncio.gather(*lookups)
        found.append(await cache.get(key))
        return found, cache.stats()

    found, stats = run(redis_server.url, clock, body, deadline_s=SHORT_S, failures=1000)
    assert found == [None] * 31
    assert (stats.timeouts, stats.batches) == (31, 4)


def test_lookups_that_found_no_free_lane_are_sent_together_later(redis_server, clock, key):
    async def body(cache):
        redis_server.pause()
        lookups = []
        for n in range(30):
            lookups.append(asyncio.create_task(cache.get(key + bytes([n]))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        redis_server.resume()
        await asyncio.gather(*lookups)
        return cache.stats()

    stats = run(redis_server.url, clock, body, deadline_s=1000)
    assert (stats.misses, stats.timeouts, stats.errors, stats.batches) == (30, 0, 0, 5)


def test_a_busy_event_loop_is_not_taken_for_a_slow_server(redis_server, clock, key, decide):
    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        assert await cache.get(key) == decide(), "connected"
        redis_server.pause()  # So that the answer comes while the loop is held up, not before.
        lookup = asyncio.create_task(cache.get(key))
        while cache.stats().batches < 2:
            await asyncio.sleep(0)
        redis_server.resume()
        time.sleep(0.5)  # Past the deadline, with the answer waiting in the socket.
        return await lookup, cache.stats()

    decision, stats = run(redis_server.url, clock, body, deadline_s=0.3)
    assert (decision, stats.timeouts) == (decide(), 0)


def test_closing_writes_what_is_queued(redis_url, clock, key, decide):
    keys = [key + bytes([n]) for n in range(200)]

    async def write(cache):
        for each in keys:
            await cache.set(each, decide(), 60)

    async def read(cache):
        return await asyncio.gather(*(cache.get(each) for each in keys))

    run(redis_url, clock, write)
    assert run(redis_url, clock, read) == [decide()] * 200


def test_the_queue_of_writes_is_bounded(redis_server, clock, key, decide):
    redis_server.pause()

    async def body(cache):
        for n in range(1500):
            await cache.set(key + n.to_bytes(2), decide(), 60)
        return cache.stats()

    stats = run(redis_server.url, clock, body)
    assert stats.writes_dropped == 1500 - 1024


def test_a_closed_cache_answers_with_misses(redis_url, clock, key, decide):
    async def body(cache):
        await cache.aclose()
        await cache.set(key, decide(), 60)
        return await cache.get(key), cache.stats()

    decision, stats = run(redis_url, clock, body)
    assert decision is None
    assert (stats.skipped, stats.writes_dropped) == (1, 1)


def test_closing_ends_lookups_under_way(redis_server, clock, key):
    redis_server.pause()

    async def body(cache):
        lookups = []
        for n in range(6):  # More than lanes: some are sent, some wait.
            lookups.append(asyncio.create_task(cache.get(key + bytes([n]))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await cache.aclose()
        done, pending = await asyncio.wait(lookups, timeout=0)
        return [lookup.result() for lookup in done], pending

    assert run(redis_server.url, clock, body, deadline_s=1000) == ([None] * 6, set())


# The first loop ends without a word to the cache, so its connection cannot be closed in order.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_cache_may_serve_one_event_loop_after_another(redis_url, clock, key, decide):
    cache = open_cache(redis_url, clock)

    async def leave_a_lookup_behind():
        await cache.set(key, decide(), 60)
        await written(cache)
        asyncio.get_running_loop().create_task(cache.get(key)).cancel()
        lookup = asyncio.get_running_loop().create_task(cache.get(key + b"x"))
        await asyncio.sleep(0)
        assert not lookup.done()

    async def read():
        found = await asyncio.gather(cache.get(key), cache.get(key + b"x"))
        await cache.aclose()
        return found

    asyncio.run(leave_a_lookup_behind())
    assert asyncio.run(asyncio.wait_for(read(), 30)) == [decide(), None]
    gc.collect()


def test_a_wrong_password_is_an_outage_and_is_not_shown(redis_server, clock, key, caplog):
    with redis_server.client() as client:
        client.config_set("requirepass", "right")
    url = redis_server.url.replace("redis://", "redis://:s3cret@")

    async def body(cache):
        assert "s3cret" not in repr(cache) + repr(vars(cache))
        return [await cache.get(key) for _ in range(2)], cache.stats()

    with caplog.at_level(logging.DEBUG):
        found, stats = run(url, clock, body)
    assert found == [None, None]
    assert (stats.errors, stats.breaker) == (2, "open")
    assert "AuthenticationError" in caplog.text
    assert "s3cret" not in caplog.text


def test_the_rights_that_the_documentation_names_are_enough(redis_server, clock, key, decide):
    with redis_server.client() as client:
        client.execute_command("ACL SETUSER coe on >pw +mget +set ~coe:decision:*")
    url = redis_server.url.replace("redis://", "redis://coe:pw@")

    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        return await cache.get(key), cache.stats()

    decision, stats = run(url, clock, body)
    assert (decision, stats.errors, stats.writes_dropped) == (decide(), 0, 0)


def test_a_server_that_refuses_writes_is_still_read(redis_server, clock, key, decide):
    with redis_server.client() as client:
        client.execute_command("ACL SETUSER coe on >pw +mget ~coe:decision:*")
    url = redis_server.url.replace("redis://", "redis://coe:pw@")

    async def body(cache):
        await cache.set(key, decide(), 60)
        await written(cache)
        return await cache.get(key), cache.stats()

    decision, stats = run(url, clock, body)
    assert (decision, stats.misses, stats.writes_dropped, stats.breaker) == (None, 1, 1, "closed")


@pytest.mark.parametrize(
    "url", ["http://s3cret@host", "redis://:pa/s3cret@host", "redis://host:s3cret", "s3cret"]
)
def test_a_wrong_url_is_refused_without_being_shown(url, clock):
    with pytest.raises(ConfigError) as caught:
        open_cache(url, clock)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_option_that_redis_py_does_not_know_is_an_outage(redis_url, clock, key):
    async def body(cache):
        return await cache.get(key), cache.stats()

    decision, stats = run(f"{redis_url}?no_such_option=1", clock, body)
    assert (decision, stats.errors) == (None, 1)
