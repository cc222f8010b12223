"""Experts built through the plugin's entry point, and the warnings of litellm that are not ours to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coe.registry import Registry
from coe.testing import FakeUpstream, build
from coe_litellm._expert import LiteLLMExpert

Make = Callable[..., LiteLLMExpert]

OF_LITELLM = (
    # pydantic, while it builds litellm's own models.
    r"ignore:Item '\w+' on TypedDict class '\w+' is using the `ReadOnly` qualifier:UserWarning:pydantic",
    # litellm prepares a call in a thread; cancelled before that is done, the call that it made is dropped.
    r"ignore:coroutine '\w+\.acompletion' was never awaited:RuntimeWarning",
    # litellm copies its answers by looking through all attributes of a pydantic model.
    r"ignore:Accessing the 'model_(computed_)?fields' attribute on the instance:DeprecationWarning:litellm",
)


def pytest_configure(config: pytest.Config) -> None:
    for warning in OF_LITELLM:
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture
def make() -> Make:
    """Builds an expert from its keys in a configuration, as coe does."""

    def _make(*, card: dict[str, Any] | None = None, **keys: Any) -> LiteLLMExpert:
        plugin = Registry().plugin("coe.experts", "litellm")
        return plugin.create("lite", plugin.settings(**keys), build(card=card))

    return _make


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running
