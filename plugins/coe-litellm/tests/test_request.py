from __future__ import annotations

from typing import Any

import pytest

from coe.testing import chat
from coe_litellm._request import arguments_of, unsupported_field


def test_fields_are_copied_deeply_and_ours_left_out() -> None:
    request = chat("hello", stream=True, stream_options={"include_usage": True}, stop=["a"], seed=None)
    arguments = arguments_of(request, "openai")
    assert arguments == {"messages": [{"role": "user", "content": "hello"}], "stop": ["a"]}
    arguments["messages"][0]["content"] = "changed"
    assert request.payload["messages"][0]["content"] == "hello"


def test_metadata_goes_to_those_who_store_it() -> None:
    request = chat("hello", metadata={"a": "b"})
    assert arguments_of(request, "openai")["extra_body"] == {"metadata": {"a": "b"}}
    assert set(arguments_of(request, "anthropic")) == {"messages"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n": 2}, "n"),
        ({"n": 1}, None),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tools": []}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": False}, None),
        ({"stop": None}, None),
        ({"stop": "."}, "stop"),
        ({"seed": 3, "user": "u", "temperature": 1}, None),
    ],
)
def test_what_must_not_be_left_out(fields: dict[str, Any], field: str | None) -> None:
    assert unsupported_field(chat("hello", **fields), {"max_tokens"}) == field
    assert unsupported_field(chat("hello", **fields), set(fields)) is None
