"""Routing, asking, falling back: with real experts over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from coe.breaker import Breaker
from coe.cache import DecisionStore, MemoryCache, decision_key
from coe.config import loads
from coe.contracts import Card, Context, Decision, Features, PoolView, Ranked, Reason, Reply, Router
from coe.engine import Attempt, Engine, Routed, RouterBinding, Served
from coe.errors import (
    CoeError,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
    ModelNotFound,
    NoEligibleExpert,
)
from coe.pool import Builder, Member, Pool
from coe.registry import Registry
from coe.testing import FakeUpstream, Fault, chat, context
from coe.wire import ChatRequest


@dataclass
class Log:
    """An observer that remembers."""

    decisions: list[Routed] = field(default_factory=list[Routed])
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    broken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def routed(self, routed: Routed) -> None:
        self.decisions.append(routed)

    def attempted(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    def router_failed(self, router: str, why: str) -> None:
        self.broken.append((router, why))

    def stream_failed(self, expert: str, code: str) -> None:
        self.broken.append((expert, code))


class InOrder:
    """A router that ranks as the pool does, and counts."""

    revision = "in-order"

    def __init__(self) -> None:
        self.calls = 0

    def route(self, features: Features, view: PoolView) -> Decision:
        self.calls += 1
        ranked = tuple(Ranked(name) for name in view.experts)
        chosen = features.sticky_expert
        if chosen in view.experts:
            ranked = (Ranked(chosen), *(each for each in ranked if each.expert != chosen))
        return Decision(
            expert=ranked[0].expert,
            ranked=ranked,
            reason=Reason.CATEGORY,
            category="math",
            revision=self.revision,
        )

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        return [self.route(each, view) for each in features]


class Broken(InOrder):
    """A router that raises."""

    def route(self, features: Features, view: PoolView) -> Decision:
        raise ZeroDivisionError


class Stray(InOrder):
    """A router that chooses an expert it was not offered."""

    def route(self, features: Features, view: PoolView) -> Decision:
        return Decision(expert="gone", ranked=(Ranked("gone"),), reason=Reason.CATEGORY)


class Plugin:
    """An expert of somebody else's, which breaks as told."""

    def __init__(self, name: str, error: BaseException | None = None, *, after: int = 0) -> None:
        self.card = Card(name=name)
        self._error = error
        self._after = after
        self.closed = asyncio.Event()

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        return Reply(chunks=self._chunks())

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(self._after):
                yield b'data: {"n":%d}\n\n' % number
            if self._error is not None:
                raise self._error
            await asyncio.sleep(60)
        finally:
            self.closed.set()

    async def aclose(self) -> None: ...


def engine_of(
    experts: Mapping[str, Any], router: Router | None = None, *, cached: bool = False, failures: int = 3
) -> tuple[Engine, Log]:
    log = Log()
    pool = Pool(
        (Member(name, expert, Breaker(failures, 10)) for name, expert in experts.items()), time.monotonic
    )
    store = DecisionStore(MemoryCache(100, time.monotonic), ttl_s=60) if cached else None
    binding = RouterBinding(router or InOrder(), None, Breaker(failures, 10))
    return Engine(pool, {"auto": binding}, store, log, time.monotonic, 3), log


def behind(upstream: FakeUpstream, *names: str, **server: Any) -> dict[str, Any]:
    """Real openai experts on one fake upstream, each under its own model name."""
    lines = [f"  {name}: {{kind: openai, base_url: '{upstream.base_url}', model: {name}}}" for name in names]
    text = "experts:\n" + "\n".join(lines) + "\nrouters: {auto: {kind: two-step}}\n"
    pool = Builder(loads(text, {}), Registry()).pool(time.monotonic)
    return {name: pool.member(name).expert for name in names}


def run(
    scenario: Callable[[FakeUpstream], Awaitable[None]], faults: Mapping[str, Fault] | None = None
) -> None:
    async def main() -> None:
        async with FakeUpstream(faults=faults or {}) as upstream:
            await scenario(upstream)

    asyncio.run(main())


async def text_of(served: Served) -> bytes:
    if served.chunks is None:
        return served.body or b""
    return b"".join([piece async for piece in served.chunks])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.SERVER_ERROR, Fault.UNAVAILABLE, Fault.OVERLOADED, Fault.NOT_HTTP]
)
def test_the_next_expert_answers_when_the_first_fails_before_its_first_byte(
    fault: Fault, stream: bool
) -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, log = engine_of(behind(upstream, "bad", "good"))
        served = await engine.complete(chat("hello", stream=stream), context())
        assert b"hello" in await text_of(served)
        assert served.card.name == "good"
        assert served.fallback_from == ("bad",)
        assert [attempt.expert for attempt in log.attempts] == ["bad", "good"]
        assert log.attempts[0].error
        await engine.aclose()

    run(scenario, {"bad": fault})


def test_a_refused_request_is_not_tried_elsewhere() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of(behind(upstream, "bad", "good"))
        with pytest.raises(ExpertRejected):
            await engine.complete(chat("hello"), context())
        assert upstream.served == 1
        assert engine.pool.member("bad").breaker.state(time.monotonic()) == "closed"
        await engine.aclose()

    run(scenario, {"bad": Fault.REJECTED})


def test_a_failure_after_the_first_byte_ends_the_stream_and_is_not_spliced() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, log = engine_of(behind(upstream, "bad", "good"))
        served = await engine.complete(chat("some words", stream=True), context())
        with pytest.raises(ExpertUnavailable):
            await text_of(served)
        assert upstream.served == 1
        assert log.broken == [("bad", "expert_unavailable")]
        assert engine.pool.member("bad").in_flight == 0
        await engine.aclose()

    run(scenario, {"bad": Fault.RESET_MID_BODY})


def test_a_failing_expert_is_left_alone_and_attempts_are_bounded() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of(behind(upstream, "a", "b", "c", "d"), failures=2)
        for _ in range(2):
            with pytest.raises(ExpertUnavailable):
                await engine.complete(chat("x"), context())
        assert upstream.served == 6
        served = await engine.complete(chat("x"), context())
        assert served.card.name == "d"
        assert upstream.served == 7
        assert {each.expert for each in served.routed.decision.excluded} == {"a", "b", "c"}
        await engine.aclose()

    run(scenario, dict.fromkeys("abc", Fault.SERVER_ERROR))


@pytest.mark.parametrize("error", [RuntimeError("bug"), ExpertUnavailable("x"), StopAsyncIteration()])
def test_whatever_a_plugin_raises_the_next_expert_is_asked(error: BaseException) -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of({"plugin": Plugin("plugin", error), **behind(upstream, "good")})
        served = await engine.complete(chat("x", stream=True), context())
        assert served.fallback_from == ("plugin",)
        await text_of(served)
        await engine.aclose()

    run(scenario)


def test_a_plugin_that_breaks_within_its_stream_ends_it_with_an_expert_error() -> None:
    async def main() -> None:
        engine, log = engine_of({"plugin": Plugin("plugin", KeyError("x"), after=2)})
        served = await engine.complete(chat("x", stream=True), context())
        with pytest.raises(ExpertProtocolError, match="KeyError"):
            await text_of(served)
        assert log.broken == [("plugin", "expert_protocol_error")]

    asyncio.run(main())


def test_the_deadline_holds_for_an_expert_that_ignores_it() -> None:
    async def main() -> None:
        plugin = Plugin("plugin")
        engine, _ = engine_of({"plugin": plugin})
        with pytest.raises(ExpertTimeout):
            await engine.complete(chat("x", stream=True), context(timeout_s=0.05))
        assert engine.pool.member("plugin").in_flight == 0

    asyncio.run(main())


def test_in_flight_counts_a_stream_until_it_is_closed() -> None:
    async def main() -> None:
        plugin = Plugin("plugin", after=1)
        engine, _ = engine_of({"plugin": plugin})
        served = await engine.complete(chat("x", stream=True), context())
        assert served.chunks is not None
        await anext(served.chunks)
        assert engine.pool.member("plugin").in_flight == 1
        await served.chunks.aclose()
        assert engine.pool.member("plugin").in_flight == 0
        assert plugin.closed.is_set()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("router", "why"), [(Broken(), "ZeroDivisionError"), (Stray(), "chose outside the pool view")]
)
def test_a_router_that_fails_does_not_fail_the_request(router: Router, why: str) -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, log = engine_of(behind(upstream, "a", "b"), router, cached=True, failures=2)
        for _ in range(4):
            served = await engine.complete(chat("x"), context())
            assert served.routed.decision.reason is Reason.ROUTER_FAILED
            assert served.routed.cache == "miss"
        assert log.broken[:2] == [("auto", why)] * 2
        await engine.aclose()

    run(scenario)


def test_the_second_identical_request_is_a_hit_and_other_tenants_miss() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        router = InOrder()
        engine, _ = engine_of(behind(upstream, "a", "b"), router, cached=True)
        outcomes = [(await engine.route(chat("x"), tenant)).cache for tenant in ("t", "t", "u", "t")]
        assert outcomes == ["miss", "hit", "miss", "hit"]
        assert router.calls == 2
        await engine.aclose()

    run(scenario)


def test_a_shared_decision_for_an_expert_outside_the_view_is_not_used() -> None:
    class Poisoned:
        async def get(self, key: bytes) -> Decision | None:
            return Decision(
                expert="gone", ranked=(Ranked("gone"),), reason=Reason.CATEGORY, revision=InOrder.revision
            )

        async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None: ...

        async def aclose(self) -> None: ...

    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of(behind(upstream, "a"))
        engine.store = DecisionStore(MemoryCache(10, time.monotonic), ttl_s=60, shared=Poisoned())
        for _ in range(3):
            routed = await engine.route(chat("x"), "t")
            assert routed.decision.expert == "a"
        await engine.aclose()

    run(scenario)


def test_an_expert_named_by_the_caller_is_not_routed_but_filtered() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        router = InOrder()
        engine, _ = engine_of(behind(upstream, "a", "b"), router)
        served = await engine.complete(chat("x", model="b"), context())
        assert (served.card.name, served.routed.decision.reason) == ("b", Reason.REQUESTED)
        assert router.calls == 0
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        with pytest.raises(NoEligibleExpert, match="`b` cannot do vision"):
            await engine.complete(chat(image, model="b"), context())
        with pytest.raises(ModelNotFound, match="`auto`"):
            await engine.complete(chat("x", model="c"), context())
        await engine.aclose()

    run(scenario)


def test_nobody_eligible_says_who_lacks_what() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of(behind(upstream, "a", "b"))
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        with pytest.raises(NoEligibleExpert, match=r"`a` cannot do vision; `b` cannot do vision"):
            await engine.complete(chat(image), context())
        assert upstream.served == 0
        await engine.aclose()

    run(scenario)


def test_a_session_stays_with_its_expert_while_it_can() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of(behind(upstream, "a", "b"), failures=1)
        assert (await engine.route(chat("one"), "t", "s")).decision.expert == "a"
        engine.pool.failed("a")
        assert (await engine.route(chat("two"), "t", "s")).decision.expert == "b"
        engine.pool.succeeded("a")
        assert (await engine.route(chat("three"), "t", "s")).decision.expert == "b"
        assert (await engine.route(chat("three"), "other tenant", "s")).decision.expert == "a"
        await engine.aclose()

    run(scenario)


def test_concurrent_requests_get_their_own_answers() -> None:
    async def scenario(upstream: FakeUpstream) -> None:
        engine, _ = engine_of(behind(upstream, "a", "b"), cached=True)

        async def one(number: int) -> bool:
            served = await engine.complete(chat(f"nonce {number} end", stream=bool(number % 2)), context())
            answer = await text_of(served)
            return f"{number}".encode() in answer

        assert all(await asyncio.gather(*(one(number) for number in range(100))))
        await engine.aclose()

    run(scenario)


def test_every_error_of_the_engine_has_a_code_and_a_status() -> None:
    def leaves(kind: type[CoeError]) -> list[type[CoeError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    codes = [kind.code for kind in leaves(CoeError) if not kind.__subclasses__()]
    assert all(codes)
    assert all(400 <= kind.status < 600 for kind in leaves(CoeError))


def test_the_key_depends_on_what_is_eligible() -> None:
    features = Features(text="x")
    assert decision_key("t", "r", "one", features, router="auto") != decision_key(
        "t", "r", "two", features, router="auto"
    )
