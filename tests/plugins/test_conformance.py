"""The installed test plugin passes the kit, and so do the built-ins that need nothing beside them."""

from collections.abc import Callable, Iterator

import pytest

from coe.contracts import DecisionCache, Embedder, Expert, Router
from coe.testing import FakeUpstream, Fault, create, load
from coe.testing.conformance import (
    CacheConformance,
    EmbedderConformance,
    ExpertConformance,
    RouterConformance,
)


class TestShout(ExpertConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        return lambda: create(load("coe.experts", "shout"))

    @pytest.fixture
    def make_unreachable(self) -> Callable[[], Expert]:
        return lambda: create(load("coe.experts", "shout"), settings={"fail_on": "nonce"})


class TestEcho(ExpertConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        return lambda: create(load("coe.experts", "echo"))


class TestOpenAI(ExpertConformance):
    @pytest.fixture
    def make(self) -> Iterator[Callable[[], Expert]]:
        with FakeUpstream() as upstream:
            yield lambda: _openai(upstream)

    @pytest.fixture
    def make_unreachable(self) -> Iterator[Callable[[], Expert]]:
        with FakeUpstream(Fault.REFUSE) as upstream:
            yield lambda: _openai(upstream)

    @pytest.fixture
    def make_silent(self) -> Iterator[Callable[[], Expert]]:
        with FakeUpstream(Fault.HANG) as upstream:
            yield lambda: _openai(upstream)


def _openai(upstream: FakeUpstream) -> Expert:
    settings = {"base_url": upstream.base_url, "model": "fake"}
    return create(load("coe.experts", "openai"), settings=settings)


class TestFirst(RouterConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "first"))

    @pytest.fixture
    def make_other(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "first"), settings={"category": "code"})


class TestLetters(EmbedderConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Embedder]:
        return lambda: create(load("coe.embedders", "letters"))

    @pytest.fixture
    def make_other(self) -> Callable[[], Embedder]:
        return lambda: create(load("coe.embedders", "letters"), settings={"dim": 32})


class TestDict(CacheConformance):
    @pytest.fixture
    def make(self) -> Callable[[], DecisionCache]:
        return lambda: create(load("coe.caches", "dict"))


class TestTwoStep(RouterConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "two-step"))


class TestStatic(EmbedderConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Embedder]:
        return lambda: create(load("coe.embedders", "static"))
