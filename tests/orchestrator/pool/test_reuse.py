"""What a new pool takes over from the one before it."""

from __future__ import annotations

import asyncio

import pytest

from coe.config import Config, loads
from coe.pool import Builder, Pool
from coe.registry import Registry
from coe.testing import Clock

OLD = """
experts:
  base: {kind: echo, prefix: "b"}
  on: {kind: prompt, base: base, instruction: x}
  other: {kind: echo, card: {domains: [math]}}
routers: {auto: {kind: first}}
breaker: {failures: 1}
"""


def pools(old: str, new: str, clock: Clock | None = None) -> tuple[Pool, Pool]:
    clock = clock or Clock()
    config, registry = loads(OLD, {}), Registry()
    before = Builder(config, registry).pool(clock)
    changed: Config = loads(OLD.replace(old, new), {})
    return before, Builder(changed, registry, (config, before)).pool(clock)


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("", "", {"base", "on", "other"}),
        ('prefix: "b"', 'prefix: "c"', {"other"}),
        ("instruction: x", "instruction: y", {"base", "other"}),
        ("domains: [math]", "domains: [coding]", {"base", "on"}),
        ("  other: {kind: echo, card: {domains: [math]}}\n", "", {"base", "on"}),
        ("domains: [math]}", "domains: [math]}, routable: false", {"base", "on", "other"}),
        ("failures: 1", "failures: 2", {"base", "on", "other"}),
    ],
)
def test_experts_that_are_written_the_same_on_the_same_bases_are_kept(
    old: str, new: str, kept: set[str]
) -> None:
    before, after = pools(old, new)
    same = {name for name, m in after.members.items() if m.expert is before.member(name).expert}
    assert same == kept


def test_what_is_known_of_an_experts_health_is_kept_and_heard_from_both_pools() -> None:
    before, after = pools("instruction: x", "instruction: y")
    assert after.view().experts["other"].healthy
    before.failed("other")
    assert not after.view().experts["other"].healthy
    after.succeeded("other")
    assert before.member("other").breaker.state(0) == "closed"


def test_other_rules_for_the_breaker_start_afresh() -> None:
    before, after = pools("failures: 1", "failures: 2")
    before.failed("other")
    assert after.view().experts["other"].healthy


def test_closing_the_old_pool_leaves_what_the_new_one_uses() -> None:
    class Closing:
        def __init__(self) -> None:
            self.closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    before, after = pools('prefix: "b"', 'prefix: "c"')
    counts = {name: Closing() for name in ("base", "on", "other")}
    for name, count in counts.items():
        member = before.member(name)
        member.expert.aclose = count.aclose
    asyncio.run(before.aclose([after]))
    assert {name: count.closed for name, count in counts.items()} == {"base": 1, "on": 1, "other": 0}
