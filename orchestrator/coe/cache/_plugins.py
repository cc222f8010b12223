"""Settings of the two caches, as plugins have them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, SecretStr

from coe.cache._memory import MemoryCache
from coe.contracts import Build

if TYPE_CHECKING:
    from coe.cache._redis import RedisCache


class MemorySettings(BaseModel):
    """Decisions in this process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: PositiveInt = Field(default=10_000, description="Decisions kept.")


class RedisSettings(BaseModel):
    """Decisions shared by replicas."""

    # An error must not show the URL, which may hold a password.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: SecretStr = Field(description="redis://, rediss:// or unix:// URL.")
    timeout_ms: PositiveFloat = Field(default=5, description="After this, a lookup counts as a miss.")
    breaker_failures: PositiveInt = Field(
        default=5, description="Failures in a row after which lookups are not tried."
    )
    breaker_open_s: PositiveFloat = Field(default=2, description="How long they are not tried.")


def create_memory(_name: str, settings: MemorySettings, _build: Build) -> MemoryCache:
    """The in-process cache."""
    return MemoryCache(settings.entries, time.monotonic)


def create_redis(_name: str, settings: RedisSettings, _build: Build) -> RedisCache:
    """The Redis cache. Raises `ConfigError` when the URL is not one."""
    from coe.cache._redis import RedisCache  # Late, because redis-py costs more memory than the rest.

    return RedisCache(
        settings.url.get_secret_value(),
        deadline_s=settings.timeout_ms / 1000,
        clock=time.monotonic,
        failures=settings.breaker_failures,
        open_s=settings.breaker_open_s,
    )
