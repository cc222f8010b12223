"""Texts of a new plugin package, with `$words` that `scaffold` fills in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sources:
    """What differs between the groups of plugins."""

    readme: str
    registration: str
    implementation: str
    tests: str


PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The $group plugin `$name` for coe."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["coe-router"]

[project.optional-dependencies]
test = ["pytest>=8"]

# The group says what the plugin adds, the name is its `kind` in the configuration.
[project.entry-points."coe.${group}s"]
$name = "$module:$function"

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib"]
testpaths = ["tests"]
"""

_README = """\
# $distribution

The $group plugin `$name` for coe.

    pip install -e .[test]
    pytest
    coe plugins doctor

A configuration uses it by name, and says that it is trusted:

```yaml
plugins:
  allow: [$distribution]
"""

_EXPERT_IMPLEMENTATION = '''\
"""The expert. Replace `_answer` with what yours does."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from pydantic import BaseModel, Field

from coe.contracts import Build, Card, Context, Reply
from coe.wire import ChatRequest, last_user_text


class Settings(BaseModel):
    """The plugin's keys in the configuration. Descriptions end up in its JSON Schema."""

    greeting: str = Field(default="You said:", description="Put before the prompt.")


def create(name: str, settings: Settings, build: Build) -> $Class:
    """Make the expert that is called `name` in the configuration. No network here."""
    card = Card(name=name, locality="local", description="Repeats the prompt after a greeting.")
    return $Class(build.card(card), settings)


class $Class:
    """Repeats the prompt after a greeting."""

    def __init__(self, card: Card, settings: Settings) -> None:
        self._card = card
        self._settings = settings

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer. What cannot be answered is an `ExpertError` of coe.errors."""
        text = self._answer(last_user_text(request.body))
        if request.body.stream:
            return Reply(chunks=self._stream(text, context.request_id))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return Reply(body=self._object("chat.completion", context.request_id, choice))

    async def aclose(self) -> None:
        """Free what it holds: nothing."""

    def _answer(self, prompt: str) -> str:
        return f"{self._settings.greeting} {prompt}"

    async def _stream(self, text: str, request_id: str) -> AsyncGenerator[bytes, None]:
        for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            yield b"data: " + self._object("chat.completion.chunk", request_id, choice) + b"\\n\\n"
        yield b"data: [DONE]\\n\\n"

    def _object(self, kind: str, request_id: str, choice: dict[str, Any]) -> bytes:
        return json.dumps(
            {
                "id": f"chatcmpl-{request_id}",
                "object": kind,
                "created": 0,
                "model": self._card.name,
                "choices": [choice],
            }
        ).encode()
'''

_EXPERT_TESTS = '''\
"""The conformance kit, and what only this expert does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from coe.contracts import Expert
from coe.testing import chat, collect, context, create, load
from coe.testing.conformance import ExpertConformance


class TestConformance(ExpertConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        return lambda: create(load("coe.experts", "$name"))


def test_greets() -> None:
    async def ask() -> str:
        expert = create(load("coe.experts", "$name"), settings={"greeting": "Hello,"})
        return (await collect(await expert.complete(chat("world"), context()))).text

    assert asyncio.run(ask()) == "Hello, world"
'''

_ROUTER_IMPLEMENTATION = '''\
"""The router. Replace `_wanted` with what yours decides by."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from coe.contracts import Build, Decision, Features, PoolView, Ranked, Reason


class Settings(BaseModel):
    """The plugin's keys in the configuration. Descriptions end up in its JSON Schema."""

    words: dict[str, str] = Field(default={}, description="Word in the prompt, and the expert for it.")


def create(name: str, settings: Settings, build: Build) -> $Class:
    """Make the router that is called `name` in the configuration. No network here."""
    return $Class(settings)


class $Class:
    """Takes the expert of the first known word in the prompt, else the first of the pool."""

    def __init__(self, settings: Settings) -> None:
        self._words = settings.words

    @property
    def revision(self) -> str:
        """All that a decision depends on besides its arguments: cached decisions carry it."""
        return f"$name 0.1.0 {sorted(self._words.items())}"

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide, from the arguments alone. `view` holds at least one expert."""
        wanted = self._wanted(features.text, view)
        rest = [name for name in view.experts if name != wanted]
        ranked = tuple(Ranked(name) for name in ([wanted, *rest] if wanted else rest))
        return Decision(
            expert=ranked[0].expert,
            ranked=ranked,
            reason=Reason.CATEGORY if wanted else Reason.UNMAPPED,
            uncertainty=0.0 if wanted else 1.0,
            revision=self.revision,
        )

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide one by one."""
        return [self.route(each, view) for each in features]

    def _wanted(self, text: str, view: PoolView) -> str | None:
        experts = (expert for word, expert in self._words.items() if word in text)
        return next((expert for expert in experts if expert in view.experts), None)
'''

_ROUTER_TESTS = '''\
"""The conformance kit, and what only this router does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coe.contracts import Features, Router
from coe.testing import create, load, pool_view
from coe.testing.conformance import RouterConformance

SETTINGS = {"words": {"Python": "gamma"}}


class TestConformance(RouterConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "$name"), settings=SETTINGS)

    @pytest.fixture
    def make_other(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "$name"))


def test_a_known_word_decides() -> None:
    router = create(load("coe.routers", "$name"), settings=SETTINGS)
    decision = router.route(Features(text="Explain Python."), pool_view("alpha", "gamma"))
    assert decision.expert == "gamma"
'''


def _registration(group: str) -> str:
    return f'''\
"""Registration: what the entry point calls. It imports the rest only when called."""

from __future__ import annotations

from coe.contracts import {group}, Plugin


def $function() -> Plugin[{group}]:
    """The plugin: its settings, how to create from them, and a line for `coe plugins list`."""
    from $module.$group import Settings, create

    return Plugin(Settings, create, "One line about what it does")
'''


EXPERT = Sources(
    readme=_README
    + """\
experts:
  my-$name:
    kind: $name
    greeting: "Hello,"
```
""",
    registration=_registration("Expert"),
    implementation=_EXPERT_IMPLEMENTATION,
    tests=_EXPERT_TESTS,
)
ROUTER = Sources(
    readme=_README
    + """\
routers:
  auto:
    kind: $name
    words: {Python: my-expert}
```
""",
    registration=_registration("Router").replace("import Router, Plugin", "import Plugin, Router"),
    implementation=_ROUTER_IMPLEMENTATION,
    tests=_ROUTER_TESTS,
)
