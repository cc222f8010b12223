"""A cache in a dict."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import BaseModel

from coe.contracts import Build, Decision


class DictSettings(BaseModel):
    """Nothing to set."""


def create_dict(name: str, settings: DictSettings, build: Build) -> DictCache:
    """The plugin's factory."""
    return DictCache(time.monotonic)


class DictCache:
    """Forgets a decision when it is looked up too late, and never otherwise."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[bytes, tuple[Decision, float]] = {}

    async def get(self, key: bytes) -> Decision | None:
        """Look up."""
        decision, until = self._kept.get(key, (None, 0.0))
        return decision if self._clock() < until else None

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        """Keep."""
        self._kept[key] = (decision, self._clock() + ttl_s)

    async def aclose(self) -> None:
        """Forget."""
        self._kept.clear()
