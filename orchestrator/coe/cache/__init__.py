"""Decisions are kept: in this process first, then in Redis, with a bound on every wait.

What the engine needs:

    store = DecisionStore(MemoryCache(entries, clock), ttl_s=3600, shared=cache_plugin_or_none)
    key = decision_key(tenant, router.revision, view.digest, features, router="auto")
    decision = store.peek(key)                                   # synchronous; None when not in memory
    decision, source = await store.get_or_compute(
        key, router.revision, lambda: router.route(features, view), lambda each: each.expert in view.experts
    )
    store.stats()                                                # counters for metrics
    await store.aclose()

`source` is a `Source`: `memory` and `shared` are hits, `computed` is a miss. `RedisCache.stats()` has
counters of its own. `Lines` is what it talks to Redis with, for others who do. Importing this
package does not import redis-py; naming `RedisCache` or `Lines` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coe.cache._key import KEY_BYTES, decision_key
from coe.cache._memory import MemoryCache
from coe.cache._store import DecisionStore, Source, StoreStats
from coe.contracts import Plugin

if TYPE_CHECKING:
    from coe.cache._lines import Lines
    from coe.cache._redis import RedisCache, RedisStats

__all__ = [
    "KEY_BYTES",
    "DecisionStore",
    "Lines",
    "MemoryCache",
    "RedisCache",
    "RedisStats",
    "Source",
    "StoreStats",
    "decision_key",
    "memory",
    "redis",
]


def memory() -> Plugin[MemoryCache]:
    """The plugin `memory` of coe.caches."""
    from coe.cache._plugins import MemorySettings, create_memory

    return Plugin(
        MemorySettings, create_memory, "Keeps decisions in this process, least recently used out first."
    )


def redis() -> Plugin[RedisCache]:
    """The plugin `redis` of coe.caches."""
    from coe.cache._plugins import RedisSettings, create_redis

    return Plugin(RedisSettings, create_redis, "Shares decisions through Redis, with a bound on every wait.")


def __getattr__(name: str) -> Any:
    if name in {"RedisCache", "RedisStats"}:
        from coe.cache import _redis

        return getattr(_redis, name)
    if name == "Lines":
        from coe.cache import _lines

        return _lines.Lines
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
