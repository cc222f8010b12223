"""Both caches pass the kit that any cache must pass."""

from __future__ import annotations

import time

import pytest

from coe.cache import MemoryCache, RedisCache
from coe.testing import create, load
from coe.testing.conformance import CacheConformance


class TestMemory(CacheConformance):
    @pytest.fixture
    def make(self):
        return lambda: create(load("coe.caches", "memory"))

    @pytest.fixture
    def make_with_clock(self):
        return lambda clock: MemoryCache(100, clock)


class TestRedis(CacheConformance):
    @pytest.fixture
    def make(self, redis_server):
        return lambda: RedisCache(redis_server.url, deadline_s=5, clock=time.monotonic)

    @pytest.fixture
    def make_unreachable(self, redis_server):
        redis_server.kill()
        return lambda: create(load("coe.caches", "redis"), settings={"url": redis_server.url})
