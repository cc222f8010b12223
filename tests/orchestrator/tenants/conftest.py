"""An engine and tenants from one configuration, on clocks that the test sets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from coe.config import loads
from coe.engine import Attempt, Engine, Routed, Served, open_engine
from coe.registry import Registry
from coe.tenants import Tenants, open_tenants
from coe.testing import Clock, chat, context

NOON = 1_773_057_600.0
"""2026-03-09 12:00 UTC."""


class Silent:
    """An observer whom nothing interests."""

    def routed(self, routed: Routed) -> None: ...

    def attempted(self, attempt: Attempt) -> None: ...

    def router_failed(self, router: str, why: str) -> None: ...

    def stream_failed(self, expert: str, code: str) -> None: ...


@dataclass
class Shop:
    """One replica: what it answers, and on what clocks."""

    engine: Engine
    tenants: Tenants
    clock: Clock = field(default_factory=Clock)
    wall: Clock = field(default_factory=lambda: Clock(NOON))

    async def ask(
        self, tenant: str = "acme", prompt: str = "one two", session: str | None = None, **fields: Any
    ) -> Served:
        """A whole request: guard, engine, and the stream to its end."""
        guard = self.tenants.guard(tenant)
        request = chat(prompt, **fields)
        served = await self.engine.complete(request, context(tenant=tenant), session, guard=guard)
        if served.chunks is not None:
            served.body = b"".join([piece async for piece in served.chunks])
        return served

    async def answers(self, count: int, **fields: Any) -> list[str]:
        """Who answers so many equal requests."""
        return [(await self.ask(**fields)).card.name for _ in range(count)]

    async def aclose(self) -> None:
        """Close everything."""
        await self.engine.aclose()
        await self.tenants.aclose()


_replicas = itertools.count()


def shop(text: str, *, redis: str | None = None, timeout_ms: float = 5000) -> Shop:
    """A replica of this configuration; `redis` is where it shares limits, patiently on a busy machine."""
    shared = f"\ntenants:\n  redis: {redis}\n  timeout_ms: {timeout_ms}\n" if redis else "\ntenants:\n"
    config = loads(text.replace("\ntenants:\n", shared), {})
    clock, wall = Clock(), Clock(NOON)
    tenants = open_tenants(config, clock, wall, f"replica-{next(_replicas)}")
    assert tenants is not None
    return Shop(open_engine(config, Registry(), Silent(), clock), tenants, clock, wall)


Open = Callable[..., Shop]


@pytest.fixture
def open_shop() -> Open:
    """Makes replicas."""
    return shop


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a scenario to its end."""
    return asyncio.run
