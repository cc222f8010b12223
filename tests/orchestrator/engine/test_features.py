"""What routing may look at."""

from __future__ import annotations

from typing import Any

import pytest

from coe.engine import extract_features
from coe.testing import chat

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "does f", "parameters": {}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_the_text_is_the_last_user_turn() -> None:
    request = chat(
        [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "reply"},
            {"role": "user", "content": [{"type": "text", "text": "last"}, IMAGE]},
            {"role": "assistant", "content": "prefill"},
        ]
    )
    assert extract_features(request.body).text == "last"


@pytest.mark.parametrize(
    ("fields", "required"),
    [
        ({}, {"chat"}),
        ({"stream": True}, {"chat", "stream"}),
        ({"tools": [TOOL]}, {"chat", "tools"}),
        ({"functions": [{"name": "f"}]}, {"chat", "tools"}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"chat", "json_schema"}),
        ({"response_format": {"type": "json_object"}}, {"chat", "json_schema"}),
        ({"response_format": {"type": "text"}}, {"chat"}),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, {"chat", "vision"}),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, {"chat", "tools"}),
        ({"messages": [{"role": "tool", "content": "4", "tool_call_id": "1"}]}, {"chat", "tools"}),
    ],
)
def test_a_request_requires_what_it_uses(fields: dict[str, Any], required: set[str]) -> None:
    messages = fields.pop("messages", "hi")
    assert extract_features(chat(messages, **fields).body).required == required


def test_tokens_are_estimated_from_everything_that_is_sent() -> None:
    def tokens(messages: Any, **fields: Any) -> int:
        return extract_features(chat(messages, **fields).body).tokens

    assert tokens("a" * 400) == 100
    assert tokens("ä" * 400) == 200
    assert tokens([{"role": "system", "content": "a" * 400}, {"role": "user", "content": "a" * 400}]) == 200
    assert tokens("a" * 400, max_tokens=50) == 150
    assert tokens("a" * 400, max_completion_tokens=60, max_tokens=50) == 160
    assert tokens([{"role": "user", "content": [IMAGE]}]) == 1000


def test_tools_are_facts_for_the_router() -> None:
    (tool,) = extract_features(chat("x", tools=[TOOL]).body).tools
    assert (tool.name, tool.description) == ("f", "does f")
