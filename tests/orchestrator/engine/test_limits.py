"""More requests than experts take: queues, overflow, load shedding, and no retry storm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coe.config import loads
from coe.contracts import Reply
from coe.engine import Engine, Served, open_engine
from coe.errors import ExpertBusy, ExpertUnavailable
from coe.registry import Registry
from coe.testing import FakeUpstream, Fault, chat, collect, context


class Quiet:
    """An observer that keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None


def open_with(upstream: FakeUpstream, a: str, b: str = "", more: str = "") -> Engine:
    lines = "".join(
        f"  {name}: {{kind: openai, base_url: '{upstream.base_url}', model: {name}{limits}}}\n"
        for name, limits in (("a", a), ("b", b))
        if limits is not None
    )
    text = (
        f"experts:\n{lines}"
        "  on-a: {kind: prompt, base: a, instruction: x, routable: false}\n"
        f"routers: {{auto: {{kind: first}}}}\n{more}"
    )
    return open_engine(loads(text, {}), Registry(), Quiet(), time.monotonic)


def run(scenario: Callable[[FakeUpstream], Awaitable[None]], fault: Fault = Fault.NONE) -> None:
    async def main() -> None:
        async with FakeUpstream(fault) as upstream:
            await scenario(upstream)

    asyncio.run(main())


def ask(engine: Engine, model: str = "auto", timeout_s: float = 30, **fields: Any) -> asyncio.Task[Served]:
    return asyncio.create_task(
        engine.complete(chat("hello", model=model, **fields), context(timeout_s=timeout_s))
    )


async def read(served: Served) -> None:
    if served.chunks is not None:
        await collect(Reply(chunks=served.chunks))


@pytest.mark.parametrize("stream", [False, True])
def test_no_more_requests_run_at_once_than_the_limit_and_all_are_answered(stream: bool) -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine = open_with(upstream, ", max_concurrency: 2, max_queue: 10")
        tasks = [ask(engine, "a", stream=stream) for _ in range(3)]
        tasks += [ask(engine, "on-a", stream=stream) for _ in range(3)]  # they ask `a` too
        await upstream.wait_served(2)
        await asyncio.sleep(0.05)
        gate = engine.pool.member("a").gate
        assert gate is not None
        assert (upstream.served, gate.inside, gate.waiting) == (2, 2, 4)
        upstream.release()
        for task in asyncio.as_completed(tasks):
            await read(await task)
        assert (upstream.served, gate.inside, gate.waiting) == (6, 0, 0)
        await engine.aclose()

    run(scenario, Fault.HANG)


def test_when_the_queue_is_full_the_next_expert_answers_and_the_first_stays_healthy() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine = open_with(upstream, ", max_concurrency: 1, max_queue: 1", more="breaker: {failures: 1}")
        upstream.faults["a"] = Fault.HANG
        tasks = [ask(engine) for _ in range(2)]
        await upstream.wait_served(1)
        overflow = [await ask(engine) for _ in range(3)]
        assert {served.card.name for served in overflow} == {"b"}
        assert {served.attempts[0].error for served in overflow} == {"expert_overloaded"}
        assert engine.pool.view().experts["a"].healthy
        upstream.release()
        assert {(await task).card.name for task in tasks} == {"a"}
        await engine.aclose()

    run(scenario)


def test_when_everybody_is_busy_the_caller_is_told_when_to_come_back() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        limits = ", max_concurrency: 1, max_queue: 0"
        engine = open_with(upstream, limits, limits, "server: {max_attempts: 1}")
        tasks = [ask(engine), ask(engine)]
        await upstream.wait_served(2)  # an expert that is busy does not count as asked
        with pytest.raises(ExpertBusy, match="1 requests at once, 0 waiting") as busy:
            await ask(engine)
        assert (busy.value.status, busy.value.code) == (429, "expert_overloaded")
        assert busy.value.retry_after_s
        upstream.release()
        await asyncio.gather(*tasks)
        await engine.aclose()

    run(scenario, Fault.HANG)


def test_nobody_waits_in_the_queue_beyond_the_deadline_and_who_leaves_frees_the_place() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine = open_with(upstream, ", max_concurrency: 1, max_queue: 5")
        first = ask(engine, "a", stream=True)
        await upstream.wait_served(1)
        with pytest.raises(ExpertBusy):
            await ask(engine, "a", timeout_s=0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        upstream.release()
        served = await ask(engine, "a", stream=True)
        assert served.chunks is not None
        await served.chunks.aclose()  # before its first piece was taken
        del served
        gate = engine.pool.member("a").gate
        assert gate is not None
        while gate.inside:
            await asyncio.sleep(0)
        assert (await ask(engine, "a")).body
        await engine.aclose()

    run(scenario, Fault.HANG)


def test_a_failing_expert_does_not_double_the_load() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        budget = "server: {retry_ratio: 0.2, retry_per_s: 0}\nbreaker: {failures: 100000}"
        engine = open_with(upstream, "", more=budget)
        for _ in range(100):
            with pytest.raises(ExpertUnavailable):
                await ask(engine)
        assert engine.retries is not None
        assert upstream.served == 100 + 20
        assert engine.retries.denied == 80
        await engine.aclose()

    run(scenario, Fault.SERVER_ERROR)
