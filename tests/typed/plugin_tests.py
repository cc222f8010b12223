"""coe.testing and the conformance kit as an author's type checker sees them. Checked, never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, assert_type

import pytest

from coe.contracts import Build, Context, Expert, Plugin, PoolView, Router
from coe.testing import (
    Clock,
    Collected,
    FakeUpstream,
    Fault,
    Received,
    build,
    chat,
    collect,
    context,
    create,
    load,
    pool_view,
)
from coe.testing.conformance import ExpertConformance, RouterConformance
from coe.wire import ChatRequest


class TestExpert(ExpertConformance):
    """A kit with class attributes and fixtures overridden, one of them a generator."""

    prompts = ("one", "two")
    fields = {"temperature": 0}  # noqa: RUF012 - declared as a class variable by the kit.

    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        """A factory."""
        return lambda: create(load("coe.experts", "echo"))

    @pytest.fixture
    def make_unreachable(self) -> Iterator[Callable[[], Expert]]:
        """With an upstream beside it."""
        with FakeUpstream(Fault.REFUSE) as upstream:
            settings = {"base_url": upstream.base_url}
            yield lambda: create(load("coe.experts", "openai"), settings=settings)


class TestRouter(RouterConformance):
    """A kit whose pool is its own."""

    experts = ("small", "large")

    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        """A factory."""
        return lambda: create(load("coe.routers", "two-step"))


async def helpers(expert: Expert, plugin: Plugin[Router]) -> None:
    """What the short constructors give."""
    assert_type(chat("hi", stream=True), ChatRequest)
    assert_type(context(clock=Clock()), Context)
    assert_type(pool_view("a", "b"), PoolView)
    assert_type(build(experts={"a": expert}), Build)
    assert_type(load("coe.experts", "echo"), Plugin[Any])
    assert_type(create(plugin, settings={"k": 1}), Router)
    assert_type(await collect(await expert.complete(chat("hi"), context())), Collected)


async def upstream() -> None:
    """The fake upstream in both of its forms."""
    async with FakeUpstream(answer=lambda payload: {"role": "assistant"}) as inside:
        assert_type(inside, FakeUpstream)
        assert_type(inside.received[0], Received)
        assert_type(inside.base_url, str)
        inside.fault = "reset"  # pyright: ignore[reportAttributeAccessIssue]
    with FakeUpstream() as thread:
        assert_type(thread.run(thread.wait_cancelled()), None)
