"""Prompt experts: what the base is asked, and that nothing else changes."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coe.contracts import Build, Card, Context, Expert, Reply, Startable
from coe.errors import ConfigError
from coe.experts._prompt import PromptExpert, PromptSettings, create_prompt
from coe.testing import build, chat, context
from coe.wire import ChatBody, ChatRequest, Message

DEMONSTRATION = {"input": "1+1?", "output": "2"}
SHOWN = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]


class Recorder:
    """Answers nothing and remembers what it was asked. Sleeps until started."""

    def __init__(self, card: Card | None = None) -> None:
        self.card = card or Card(name="base")
        self.requests: list[ChatRequest] = []
        self.awake = False
        self.closed = False

    async def start(self) -> None:
        self.awake = True

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        self.requests.append(request)
        return Reply(body=context.request_id.encode())

    async def aclose(self) -> None:
        self.closed = True


class Plain:
    """A base that is always awake and has no `start`."""

    card = Card(name="base")

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        return Reply(body=b"plain")

    async def aclose(self) -> None:
        return None


def make(base: Expert, given_build: Build | None = None, **settings: Any) -> PromptExpert:
    checked = PromptSettings.model_validate({"base": "base", **settings})
    return create_prompt("math", checked, given_build or build(experts={"base": base}))


def asked(request: ChatRequest, **settings: Any) -> ChatRequest:
    base = Recorder()
    asyncio.run(make(base, **settings).complete(request, context()))
    return base.requests[0]


def messages(request: ChatRequest, **settings: Any) -> list[dict[str, Any]]:
    return asked(request, **settings).payload["messages"]


def test_instruction_and_demonstrations_come_before_the_conversation() -> None:
    sent = messages(chat("2+2?"), instruction="Be exact.", demonstrations=[DEMONSTRATION])

    assert sent == [
        {"role": "system", "content": "Be exact."},
        *SHOWN,
        {"role": "user", "content": "2+2?"},
    ]


def test_the_reply_is_the_bases() -> None:
    reply = asyncio.run(make(Recorder()).complete(chat("hi"), context(request_id="r7")))

    assert reply.body == b"r7"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_callers_system_message_is_joined_after_the_instruction(role: str) -> None:
    request = chat([{"role": role, "content": "Answer in French."}, {"role": "user", "content": "hi"}])

    sent = messages(request, instruction="Be exact.", demonstrations=[DEMONSTRATION])

    assert sent[0] == {"role": "system", "content": "Be exact.\n\nAnswer in French."}
    assert sent[1:] == [*SHOWN, {"role": "user", "content": "hi"}]


def test_system_message_in_parts_keeps_its_parts() -> None:
    parts = [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}]
    request = chat([{"role": "system", "content": parts}, {"role": "user", "content": "hi"}])

    sent = messages(request, instruction="Be exact.")

    assert sent[0]["content"] == [{"type": "text", "text": "Be exact."}, *parts]


def test_later_system_messages_stay_where_they_are() -> None:
    conversation = [
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "Now be brief."},
        {"role": "user", "content": "again"},
    ]

    assert messages(chat(conversation), instruction="Be exact.")[1:] == conversation


def test_without_an_instruction_no_system_message_is_made() -> None:
    assert messages(chat("hi"), demonstrations=[DEMONSTRATION]) == [*SHOWN, {"role": "user", "content": "hi"}]


def test_the_rest_of_the_request_passes_untouched() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    rest: dict[str, Any] = {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 3,
    }
    conversation: list[dict[str, Any]] = [
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    sent = asked(chat(conversation, **rest), instruction="Be exact.").payload

    assert sent["messages"][1:] == conversation
    assert {key: sent[key] for key in rest} == rest


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"temperature": 0.2, "max_tokens": 64}),
        ({"temperature": 0, "max_tokens": 5}, {"temperature": 0, "max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"temperature": 0.2, "max_completion_tokens": 5}),
        ({"temperature": None}, {"temperature": 0.2, "max_tokens": 64}),
    ],
)
def test_sampling_defaults_fill_only_what_the_request_leaves_open(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    sent = asked(chat("hi", **fields), temperature=0.2, max_tokens=64)

    sampling = {"temperature", "max_tokens", "max_completion_tokens"}
    assert {key: value for key, value in sent.payload.items() if key in sampling} == expected
    assert sent.body.temperature == expected["temperature"]
    assert sent.body.max_tokens == expected.get("max_tokens")


TEXT_OR_PARTS = st.one_of(
    st.none(), st.text(), st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": TEXT_OR_PARTS}
    ),
    min_size=1,
    max_size=6,
)


@given(conversation=MESSAGES, instruction=st.text(max_size=20))
def test_the_callers_request_is_never_changed(conversation: list[dict[str, Any]], instruction: str) -> None:
    request = chat(conversation)
    before = copy.deepcopy(request)

    sent = asked(request, instruction=instruction, demonstrations=[DEMONSTRATION], max_tokens=9)

    assert request == before
    assert sent.body == msgspec.convert(sent.payload, ChatBody)
    assert sent.body.messages == msgspec.convert(sent.payload["messages"], list[Message])


def test_card_has_the_bases_facts_and_room_for_its_own_prompt() -> None:
    card = Card(
        name="base",
        capabilities=frozenset({"chat", "tools"}),
        context_window=100,
        params_b=8,
        input_usd_per_mtok=1.5,
        license="MIT",
        locality="local",
    )

    made = make(Recorder(card), instruction="x" * 40, demonstrations=[{"input": "y" * 8, "output": "z" * 5}])

    assert (made.card.name, made.card.kind) == ("math", "prompt")
    assert made.card.context_window == 100 - (10 + 4) - (2 + 4) - (2 + 4)
    assert (made.card.capabilities, made.card.params_b, made.card.input_usd_per_mtok) == (
        card.capabilities,
        8,
        1.5,
    )
    assert (made.card.license, made.card.locality) == ("MIT", "local")


def test_users_card_keys_win() -> None:
    given_build = build(experts={"base": Recorder()}, card={"domains": ("math",)})

    assert make(Recorder(), given_build).card.domains == ("math",)


def test_a_prompt_on_a_prompt_puts_the_inner_instruction_first() -> None:
    base = Recorder()
    inner = make(base, instruction="Be exact.", demonstrations=[DEMONSTRATION], max_tokens=10)
    outer = make(inner, instruction="Be brief.", max_tokens=20)

    asyncio.run(outer.complete(chat("hi"), context()))

    assert base.requests[0].payload["messages"] == [
        {"role": "system", "content": "Be exact.\n\nBe brief."},
        *SHOWN,
        {"role": "user", "content": "hi"},
    ]
    assert base.requests[0].payload["max_tokens"] == 20


def test_waking_is_the_bases_business() -> None:
    base = Recorder()
    outer = make(make(base))
    assert isinstance(outer, Startable)
    assert not outer.awake

    asyncio.run(outer.start())

    assert base.awake
    assert outer.awake


def test_a_base_that_needs_no_start_is_awake() -> None:
    made = make(Plain())

    asyncio.run(made.start())

    assert made.awake


def test_closing_leaves_the_base_to_the_pool() -> None:
    base = Recorder()

    asyncio.run(make(base).aclose())

    assert not base.closed


def test_unknown_base_and_unknown_demonstration_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="No expert is called `base`"):
        make(Recorder(), build())
    with pytest.raises(ValidationError, match="inputs"):
        make(Recorder(), demonstrations=[{"inputs": "a", "output": "b"}])
