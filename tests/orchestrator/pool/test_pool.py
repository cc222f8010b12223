"""The pool's live state, and building it from a configuration."""

from __future__ import annotations

import pytest

from coe.breaker import Breaker
from coe.config import loads
from coe.contracts import Card, Context, Reply
from coe.errors import ConfigError, ModelNotFound, PluginError
from coe.pool import Builder, Member, Pool
from coe.pool._gate import Gate
from coe.pool._limited import limited
from coe.registry import Registry
from coe.testing import Clock
from coe.wire import ChatRequest

ECHOES = """
experts:
  a: {kind: echo, card: {domains: [math], context_window: 100}}
  b: {kind: echo, routable: false}
routers:
  auto: {kind: two-step}
breaker: {failures: 2, open_s: 10}
"""


def open_pool(text: str, clock: Clock | None = None) -> Pool:
    return Builder(loads(text, {}), Registry()).pool(clock or Clock())


def test_the_view_is_the_same_object_until_something_changes() -> None:
    clock = Clock()
    pool = open_pool(ECHOES, clock)
    before = pool.view()
    assert pool.view() is before
    pool.failed("a")
    assert pool.view() is before
    pool.failed("a")
    opened = pool.view()
    assert not opened.experts["a"].healthy
    assert opened.digest != before.digest
    clock.advance(10)
    assert pool.view().experts["a"].healthy
    pool.succeeded("a")
    assert pool.view().digest == before.digest


def test_routers_see_routable_experts_only_and_others_by_name() -> None:
    pool = open_pool(ECHOES)
    assert [*pool.view().experts] == ["a"]
    assert [*pool.view(("b", "a")).experts] == ["b", "a"]
    assert pool.member("b").expert.card.name == "b"
    with pytest.raises(ModelNotFound, match="`c`"):
        pool.member("c")


def test_declared_facts_lie_over_the_plugins() -> None:
    card = open_pool(ECHOES).member("a").expert.card
    assert (card.domains, card.context_window, card.locality) == (("math",), 100, "local")


def test_two_processes_see_the_same_digest() -> None:
    assert open_pool(ECHOES).view().digest == open_pool(ECHOES).view().digest


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        (
            "a: {kind: prompt, base: b, instruction: x}\n  b: {kind: prompt, base: a, instruction: y}",
            "a → b → a",
        ),
        ("a: {kind: prompt, base: c, instruction: x}", "experts.a: there is no expert `c`"),
        ("a: {kind: openai, model: m}", "experts.a.base_url"),
    ],
)
def test_what_cannot_be_built_is_named(experts: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_pool(f"experts:\n  {experts}\nrouters:\n  auto: {{kind: two-step}}\n")


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(PluginError, match="Did you mean `openai`"):
        open_pool("experts:\n  a: {kind: openia}\nrouters:\n  auto: {kind: two-step}\n")


class Busy:
    """An expert that says how busy it is."""

    def __init__(self, name: str) -> None:
        self.card = Card(name=name)
        self.load = 0

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("gated", [False, True])
def test_the_view_follows_the_load(gated: bool) -> None:
    expert = Busy("a")
    asked = limited(expert, Gate(1, 1)) if gated else expert
    pool = Pool([Member("a", asked, Breaker(1, 1))], Clock())
    before = pool.view()
    assert before.experts["a"].load == 0
    expert.load = 2
    loaded = pool.view()
    assert (loaded.experts["a"].load, loaded.digest != before.digest) == (2, True)
    expert.load = 0
    assert pool.view().digest == before.digest


def test_an_expert_within_another_is_built_as_configured_and_in_no_pool() -> None:
    builder = Builder(loads(ECHOES, {}), Registry())
    card = Card(name="inner", context_window=7, domains=("law",))
    assert builder.nested("echo", {}, card).card.context_window == 7
    assert "inner" not in builder.pool(Clock()).members
    with pytest.raises(ConfigError, match="a openai within inner"):
        builder.nested("openai", {}, card)
