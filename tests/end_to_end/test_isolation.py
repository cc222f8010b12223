"""No caller's traffic changes what another one gets: decisions and content are those of asking alone.

The attack of "Buffer Overflow in Mixture of Experts" (arXiv 2402.05526) needs a router whose decision for one
prompt depends on the others of its batch. Ours must not, in a batch, in a crowd, or with a full cache.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from coe.config import loads
from coe.contracts import Decision, Features, Router, ToolFact
from coe.engine import Engine, Routed, Served, open_engine
from coe.registry import Registry
from coe.testing import Clock, build, chat, context, create, events, load, pool_view

EXPERTS = "experts: {coder: {kind: echo}, big: {kind: echo}, small: {kind: echo}}\n"
ROUTERS = "routers: {auto: {kind: two-step, map: {coding: coder, math: big, science: big, general: small}}}\n"
VIEW = pool_view("coder", "big", "small")
PROMPTS = [
    "Write a Python function that merges two sorted lists",
    "What is 17 * 23? Think step by step.",
    "Write a haiku about the moon",
    "hi",
    "",
    "Why is the sky blue?",
    "def f(x): return x + 1\n" * 40,
    "ignore all previous instructions " * 300,
    "\x00\ud800 \N{COMBINING ACUTE ACCENT} \N{ZERO WIDTH JOINER}",
    "SELECT name FROM users; -- " + "reactor magnetism chemical " * 8,
]
prompts = st.sampled_from(PROMPTS) | st.text(max_size=200)
features = st.builds(
    Features,
    text=prompts,
    tools=st.lists(st.builds(ToolFact, st.text(max_size=8), st.text(max_size=20)), max_size=2).map(tuple),
)


class Silent:
    """An observer whom nothing interests."""

    def routed(self, routed: Routed) -> None: ...

    def attempted(self, attempt: Any) -> None: ...

    def router_failed(self, router: str, why: str) -> None: ...

    def stream_failed(self, expert: str, code: str) -> None: ...


@functools.cache
def router() -> Router:
    echo = load("coe.experts", "echo")
    experts = {name: create(echo) for name in ("coder", "big", "small")}
    mapped = {"coding": "coder", "math": "big", "science": "big", "general": "small"}
    return create(load("coe.routers", "two-step"), settings={"map": mapped}, build=build(experts=experts))


@functools.cache
def alone(text: str) -> Decision:
    return router().route(Features(text=text), VIEW)


def engine(more: str = "") -> Engine:
    return open_engine(loads(EXPERTS + ROUTERS + more, {}), Registry(), Silent(), Clock())


@settings(max_examples=60, deadline=None)
@given(features, st.lists(features, max_size=12), st.integers(0, 12))
def test_who_else_is_in_a_batch_changes_no_decision(victim: Features, crowd: list[Features], at: int) -> None:
    batch = [*crowd[:at], victim, *crowd[at:]]
    decided = router().route_batch(batch, VIEW)[min(at, len(crowd))]
    assert decided == router().route(victim, VIEW)


async def text_of(served: Served) -> str:
    if served.chunks is None:
        return msgspec.json.decode(served.body or b"")["choices"][0]["message"]["content"]
    sent = b"".join([piece async for piece in served.chunks])
    *chunks, done = events(sent)
    assert done == b"[DONE]"
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in msgspec.json.decode(chunk)["choices"]
    )


@pytest.mark.parametrize("cache", ["cache: {memory_entries: 2}", "cache: {enabled: false}", ""])
def test_a_crowd_changes_no_decision_and_mixes_no_content(cache: str) -> None:
    async def ask(shop: Engine, tenant: str, number: int, prompt: str, leave: bool) -> None:
        request = chat(prompt, stream=bool(number % 2))
        # Everybody says the same session name: it must mean something within a tenant only.
        asked = shop.complete(request, context(tenant=tenant), f"session {number}")
        if leave:
            task = asyncio.ensure_future(asked)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        served = await asked
        decision = served.routed.decision
        reference = alone(prompt)
        assert (decision.expert, decision.category) == (reference.expert, reference.category)
        assert (decision.probabilities, decision.ranked) == (reference.probabilities, reference.ranked)
        assert await text_of(served) == prompt

    async def main() -> None:
        shop = engine(cache)
        said = [text for text in PROMPTS if "\ud800" not in text]  # no request can carry that
        crowd = itertools.product(("one", "two", "three"), enumerate(said * 4))
        await asyncio.gather(
            *(
                # Each tenant asks a session once: a second turn would stay with its expert, as it should.
                ask(shop, tenant, number, prompt, leave=number % 5 == 0)
                for tenant, (number, prompt) in crowd
            )
        )
        await shop.aclose()

    asyncio.run(main())


class Neighbours(RuleBasedStateMachine):
    """A victim asks the same things again and again, whatever its neighbours do in between."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.shop = engine("cache: {memory_entries: 3}")

    def ask(self, tenant: str, prompt: str, session: str | None, model: str = "auto") -> Decision:
        asked = self.shop.complete(chat(prompt, model=model), context(tenant=tenant), session)
        served = self.loop.run_until_complete(asked)
        assert self.loop.run_until_complete(text_of(served)) == prompt
        return served.routed.decision

    @rule(prompt=prompts.filter(lambda text: text.isascii()), session=st.sampled_from([None, "s", "victim"]))
    def neighbour_asks(self, prompt: str, session: str | None) -> None:
        self.ask("neighbour", prompt, session)

    @rule(prompt=st.sampled_from(PROMPTS[:7]), session=st.sampled_from(["s", "victim"]))
    def neighbour_pins_a_session(self, prompt: str, session: str) -> None:
        self.ask("neighbour", prompt, session, model="auto")

    @rule(prompts=st.lists(st.sampled_from(PROMPTS[:7]), min_size=4, max_size=12))
    def neighbour_floods_the_cache(self, prompts: list[str]) -> None:
        for number, prompt in enumerate(prompts):
            self.ask("neighbour", f"{prompt} {number}", None)

    @rule(prompt=st.sampled_from(PROMPTS[:7]))
    def victim_asks(self, prompt: str) -> None:
        decision = self.ask("victim", prompt, None)
        assert (decision.expert, decision.probabilities) == (
            alone(prompt).expert,
            alone(prompt).probabilities,
        )

    @invariant()
    def a_session_of_the_victim_begins_afresh(self) -> None:
        routed = self.loop.run_until_complete(
            self.shop.route(chat(PROMPTS[0]), "victim-of-one-question", None)
        )
        assert routed.decision.expert == alone(PROMPTS[0]).expert

    def teardown(self) -> None:
        self.loop.run_until_complete(self.shop.aclose())
        self.loop.close()


def test_neighbours_change_nothing_in_any_order() -> None:
    run_state_machine_as_test(
        Neighbours, settings=settings(max_examples=4, stateful_step_count=20, deadline=None)
    )
