"""Completions from chunks, and events from bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.client._assembly import Assembly
from coe.client._sse import read_events
from coe.errors import ExpertOverloaded, ExpertProtocolError


def _chunk(delta: Any, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c-1", "object": "chat.completion.chunk", "choices": [choice], **more}


def test_texts_grow_and_usage_is_kept() -> None:
    assembly = Assembly()
    texts = [
        assembly.add(_chunk({"role": "assistant", "content": ""})),
        assembly.add(_chunk({"content": "a"})),
        assembly.add(_chunk({"content": "b", "reasoning_content": "x"})),
        assembly.add(_chunk({"reasoning_content": "y"})),
        assembly.add(_chunk(None, finish="stop")),
        assembly.add({"id": "c-1", "choices": [], "usage": {"total_tokens": 3}}),
    ]
    assert texts == ["", "a", "b", "", "", ""]
    assert assembly.completion() == {
        "id": "c-1",
        "object": "chat.completion",
        "usage": {"total_tokens": 3},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "reasoning_content": "xy"},
                "finish_reason": "stop",
            }
        ],
    }


def test_calls_of_tools_are_put_together() -> None:
    assembly = Assembly()
    for calls in (
        [{"index": 0, "id": "t-0", "type": "function", "function": {"name": "add", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"a":'}}],
        [{"index": 1, "id": "t-1", "type": "function", "function": {"name": "sub", "arguments": "{}"}}],
        [{"index": 0, "function": {"arguments": "1}"}}],
    ):
        assert assembly.add(_chunk({"tool_calls": calls})) == ""
    assert assembly.completion()["choices"][0]["message"]["tool_calls"] == [
        {"id": "t-0", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
        {"id": "t-1", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
    ]


def test_only_the_first_choice_is_the_text() -> None:
    assembly = Assembly()
    assert assembly.add(_chunk({"content": "other"}, index=1)) == ""
    assert assembly.add(_chunk({"content": "first"})) == "first"
    contents = [choice["message"]["content"] for choice in assembly.completion()["choices"]]
    assert contents == ["first", "other"]


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": "none"},
        {"choices": [{"delta": "text"}]},
        {"choices": [{"index": "0", "delta": {}}]},
        {"choices": [{"delta": {"tool_calls": [1]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": -1}]}}]},
    ],
)
def test_what_is_no_chunk_is_refused(chunk: dict[str, Any]) -> None:
    with pytest.raises(ExpertProtocolError, match="no chunk"):
        Assembly().add(chunk)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["content", "tool_calls", "function", "id"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.builds(_chunk, JSON), max_size=4))
def test_any_stream_ends_in_a_completion_or_an_error_of_ours(chunks: list[dict[str, Any]]) -> None:
    assembly = Assembly()
    try:
        text = "".join(map(assembly.add, chunks))
    except ExpertProtocolError:
        return
    content = assembly.completion()["choices"][0]["message"]["content"]
    assert not text or content == text or not isinstance(content, str)


def _read(*chunks: bytes) -> list[dict[str, Any]]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    async def main() -> list[dict[str, Any]]:
        return [event async for event in read_events(pieces())]

    return asyncio.run(main())


@given(st.lists(st.text(max_size=8), max_size=5), st.sampled_from(["\n", "\r\n"]), st.integers(1, 7))
def test_events_are_read_however_they_are_cut(texts: list[str], newline: str, size: int) -> None:
    lines = "".join(f": note{newline}data: {json.dumps({'t': text})}{newline * 2}" for text in texts)
    stream = f"{lines}data: [DONE]{newline * 2}".encode()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [event["t"] for event in _read(*pieces)] == texts


def test_data_of_several_lines_is_one_object() -> None:
    assert _read(b'event: x\ndata: {"a":\ndata: 1}\n\n: comment\n\ndata:[DONE]\n\n') == [{"a": 1}]


def test_an_error_in_a_stream_is_raised() -> None:
    with pytest.raises(ExpertOverloaded, match="later"):
        _read(b'data: {"error": {"message": "later", "code": "expert_overloaded"}}\n\n')


@pytest.mark.parametrize("stream", [b"", b'data: {"a": 1}\n\n', b'data: {"a": 1}'])
def test_a_stream_without_its_end_is_an_error(stream: bytes) -> None:
    with pytest.raises(ExpertProtocolError, match="ended early"):
        _read(stream)


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b"text"])
def test_an_event_that_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(ExpertProtocolError, match="no JSON object"):
        _read(b"data: " + data + b"\n\n")
