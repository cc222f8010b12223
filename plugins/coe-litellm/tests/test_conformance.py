from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from coe.contracts import Expert
from coe.testing import FakeUpstream, Fault
from coe.testing.conformance import ExpertConformance


class TestLiteLLM(ExpertConformance):
    """The kit that every expert must pass, with litellm's openai provider over real HTTP."""

    @pytest.fixture
    def make(self, make: Callable[..., Expert], upstream: FakeUpstream) -> Callable[[], Expert]:
        return lambda: make(model="openai/gpt-4o", api_key="key", api_base=upstream.base_url)

    @pytest.fixture
    def make_unreachable(self, make: Callable[[], Expert], upstream: FakeUpstream) -> Callable[[], Expert]:
        upstream.run(upstream.refuse())
        return make

    @pytest.fixture
    def make_silent(
        self, make: Callable[[], Expert], upstream: FakeUpstream
    ) -> Iterator[Callable[[], Expert]]:
        upstream.fault = Fault.HANG
        yield make
        upstream.release()
