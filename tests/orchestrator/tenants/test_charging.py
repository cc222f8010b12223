"""What a request is charged when experts fail and when its answer is streamed: real engine, real experts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from coe.errors import ExpertUnavailable
from coe.testing import FakeUpstream, Fault, chat, context

if TYPE_CHECKING:
    from conftest import Open, Shop

Run = Callable[[Coroutine[Any, Any, None]], None]

PROMPT = "one  two"


def spent(shop: Shop, tenant: str = "acme") -> float:
    return shop.tenants._used[tenant].spend.own / 1e9


PRICED = """
  {name}:
    kind: openai
    base_url: "{url}"
    model: {name}
    card: {{input_usd_per_mtok: {price}, output_usd_per_mtok: {price}}}"""


def three(upstream: FakeUpstream, policy: str) -> str:
    """`first` is free, `dear` costs 1 USD a token, `cheap` a tenth of it."""
    prices = {"first": 0, "dear": 1_000_000, "cheap": 100_000}
    experts = "".join(
        PRICED.format(name=name, url=upstream.base_url, price=price) for name, price in prices.items()
    )
    return (
        f"plugins: {{allow: [coe-test-plugin]}}\nexperts:{experts}\nrouters: {{auto: {{kind: first}}}}\n"
        f"tenants:\n  policies:\n    acme: {{{policy}}}\n"
    )


def without_options(text: str) -> str:
    """The same, of servers that refuse `stream_options`."""
    return text.replace("kind: openai", "kind: openai\n    stream_options: false")


def models_asked(upstream: FakeUpstream) -> list[str]:
    return [each.json()["model"] for each in upstream.received]


@pytest.mark.parametrize("step_down", ["true", "false"])
def test_a_fallback_does_not_bypass_the_budget(open_shop: Open, run: Run, step_down: str) -> None:
    async def scenario() -> None:
        async with FakeUpstream(faults={"first": Fault.SERVER_ERROR}) as upstream:
            policy = f"budget_usd: {{amount: 3, per: day}}, step_down: {step_down}"
            shop = open_shop(three(upstream, policy))
            served = await shop.ask(prompt=PROMPT, max_tokens=2)
            assert served.card.name == "cheap"
            assert models_asked(upstream) == ["first", "cheap"]
            await shop.aclose()

    run(scenario())


def test_each_target_is_checked_when_it_is_its_turn(open_shop: Open, run: Run) -> None:
    """Money that was there when the request was routed may be gone when a fallback is needed."""

    async def scenario() -> None:
        async with FakeUpstream(faults={"first": Fault.SERVER_ERROR}) as upstream:
            shop = open_shop(three(upstream, "budget_usd: {amount: 5, per: day}"))
            guard = shop.tenants.guard("acme")
            assert guard is not None
            request = chat(PROMPT, max_tokens=2)
            routed = await shop.engine.route(request, "acme", guard=guard)
            assert [each.expert for each in routed.decision.ranked] == ["first", "dear", "cheap"]
            shop.tenants._used["acme"].spend.own = 4_500_000_000
            served = await shop.engine.complete(request, context(tenant="acme"), guard=_Entered(guard))
            assert served.card.name == "cheap"
            assert models_asked(upstream) == ["first", "cheap"]
            shop.tenants._used["acme"].spend.own = 5_000_000_000
            with pytest.raises(ExpertUnavailable):
                await shop.engine.complete(request, context(tenant="acme"), guard=_Entered(guard))
            assert models_asked(upstream) == ["first", "cheap", "first"]
            await shop.aclose()

    run(scenario())


class _Entered:
    """A guard that lets every expert through when it routes: as if the money went afterwards."""

    def __init__(self, guard: Any) -> None:
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard, name)

    def narrow(self, view: Any) -> Any:
        return view, ()


@pytest.mark.parametrize(
    ("fault", "charged"),
    [(Fault.SERVER_ERROR, 0), (Fault.RESET, 0), (Fault.REJECTED, 0), (Fault.OVERLOADED, 0)],
)
def test_a_failed_call_costs_nothing(open_shop: Open, run: Run, fault: Fault, charged: float) -> None:
    async def scenario() -> None:
        async with FakeUpstream(faults={"dear": fault}) as upstream:
            shop = open_shop(three(upstream, "budget_usd: {amount: 9, per: day}"))
            with pytest.raises(Exception, match="dear"):
                await shop.ask(model="dear", prompt=PROMPT, max_tokens=2)
            assert spent(shop) == charged
            await shop.aclose()

    run(scenario())


def test_a_call_that_is_left_may_have_been_billed(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        async with FakeUpstream(faults={"dear": Fault.HANG}) as upstream:
            shop = open_shop(three(upstream, "budget_usd: {amount: 9, per: day}"))
            task = asyncio.create_task(shop.ask(model="dear", prompt=PROMPT, max_tokens=2))
            await upstream.wait_served(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert spent(shop) == 4
            await shop.aclose()

    run(scenario())


OPTIONS = [None, {}, {"include_usage": False}, {"include_usage": True}]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_stream_is_charged_exactly_whether_its_usage_is_asked_for_or_not(
    open_shop: Open, run: Run, options: dict[str, Any] | None
) -> None:
    async def scenario() -> None:
        async with FakeUpstream(answer="yes") as upstream:
            shop = open_shop(three(upstream, "budget_usd: {amount: 99, per: day}"))
            more = {} if options is None else {"stream_options": options}
            served = await shop.ask(model="dear", prompt=PROMPT, max_tokens=9, stream=True, **more)
            assert upstream.received[0].json()["stream_options"] == {"include_usage": True}
            asked = bool(options and options.get("include_usage"))
            assert (b'"usage"' in (served.body or b"")) == asked
            assert (served.body or b"").endswith(b"data: [DONE]\n\n")
            assert not served.reply.estimated
            assert spent(shop) == 2 + 1
            await shop.aclose()

    run(scenario())


def test_nobody_is_asked_for_usage_where_nothing_is_counted(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        async with FakeUpstream(answer="yes") as upstream:
            shop = open_shop(three(upstream, "requests_per_minute: 99"))
            await shop.ask(model="dear", prompt=PROMPT, stream=True)
            assert "stream_options" not in upstream.received[0].json()
            await shop.aclose()

    run(scenario())


def test_a_stream_without_usage_costs_what_was_reckoned_and_says_so(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        async with FakeUpstream(answer="yes") as upstream:
            shop = open_shop(without_options(three(upstream, "budget_usd: {amount: 99, per: day}")))
            served = await shop.ask(model="dear", prompt=PROMPT, max_tokens=9, stream=True)
            assert "stream_options" not in upstream.received[0].json()
            assert spent(shop) == 2 + 9
            assert served.reply.estimated
            assert shop.tenants.stats().policies["acme"].estimated == 1
            await shop.aclose()

    run(scenario())


def test_a_stream_without_usage_costs_a_token_for_each_event(open_shop: Open, run: Run) -> None:
    async def scenario() -> None:
        async with FakeUpstream(answer="word " * 600) as upstream:
            shop = open_shop(without_options(three(upstream, "budget_usd: {amount: 9999, per: day}")))
            served = await shop.ask(model="dear", prompt=PROMPT, stream=True)
            events = (served.body or b"").count(b"data:")
            assert events > 600
            assert spent(shop) == 2 + events
            await shop.aclose()

    run(scenario())
