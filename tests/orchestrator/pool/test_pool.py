"""The pool's live state, and building it from a configuration."""

from __future__ import annotations

import pytest

from coe.config import loads
from coe.errors import ConfigError, ModelNotFound, PluginError
from coe.pool import Builder, Pool
from coe.registry import Registry
from coe.testing import Clock

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
