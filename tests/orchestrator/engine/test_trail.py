"""What is known of a request that failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from coe.config import loads
from coe.engine import Engine, Trail, open_engine
from coe.errors import ExpertUnavailable
from coe.gateway import Metrics
from coe.registry import FIRST_PARTY, Registry
from coe.testing import FakeUpstream, Fault, chat, context


def run(scenario: Callable[[Engine, FakeUpstream], Awaitable[None]], fault: Fault) -> None:
    async def main() -> None:
        async with FakeUpstream(fault) as upstream:
            experts = "".join(
                f"  {name}: {{kind: openai, base_url: '{upstream.base_url}', model: {name}}}\n"
                for name in ("a", "b")
            )
            head = "plugins: {allow: [coe-test-plugin]}\nexperts:\n"
            config = loads(f"{head}{experts}routers: {{auto: {{kind: first}}}}\n", {})
            registry = Registry(allow=FIRST_PARTY | {"coe-test-plugin"})
            engine = open_engine(config, registry, Metrics(), time.monotonic)
            await scenario(engine, upstream)
            await engine.aclose()

    asyncio.run(main())


def test_a_request_that_nobody_answers_leaves_its_decision_and_every_attempt() -> None:
    async def scenario(engine: Engine, upstream: FakeUpstream) -> None:
        trail = Trail()
        with pytest.raises(ExpertUnavailable):
            await engine.complete(chat("hello"), context(), None, trail)
        assert trail.routed is not None
        assert trail.routed.decision.expert == "a"
        assert [(each.expert, each.error) for each in trail.attempts] == [
            ("a", "expert_unavailable"),
            ("b", "expert_unavailable"),
        ]

    run(scenario, Fault.SERVER_ERROR)


def test_a_request_that_is_cancelled_leaves_who_was_being_asked() -> None:
    async def scenario(engine: Engine, upstream: FakeUpstream) -> None:
        trail = Trail()
        task = asyncio.create_task(engine.complete(chat("hello"), context(), None, trail))
        await upstream.wait_served(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(each.expert, each.error) for each in trail.attempts] == [("a", "cancelled")]

    run(scenario, Fault.HANG)
