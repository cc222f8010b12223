"""Bodies of requests, parsed the quick way and the long one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import InvalidRequest
from coe.wire import ChatRequest, chat_request, parse_chat

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant"]), "content": st.text() | st.none()},
        optional={"name": st.text(), "reasoning": values},
    ),
    min_size=1,
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {"model": st.text(), "messages": messages},
    optional={
        "stream": st.booleans(),
        "temperature": st.floats(0, 2),
        "max_tokens": st.integers(1, 10**6),
        "metadata": values,
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
    },
)


@given(bodies, st.booleans())
def test_both_ways_of_parsing_agree(body: dict[str, Any], ascii_only: bool) -> None:
    raw = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        quick: ChatRequest | None = parse_chat(raw)
    except InvalidRequest:
        quick = None
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert quick is None
        return
    assert quick is not None
    assert quick == chat_request(json.loads(raw))
    assert quick.payload == json.loads(raw)


@given(bodies, st.text(), st.booleans())
def test_a_body_is_forwarded_with_another_model_and_nothing_else(
    body: dict[str, Any], model: str, read_before: bool
) -> None:
    request = parse_chat(json.dumps(body).encode())
    if read_before:
        assert request.payload == body
    expected = {**body, "model": model}
    expected.pop("stream", None)
    assert json.loads(request.encoded({"model": model}, ("stream",))) == expected


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model": "a", "messages": [{"role": "user", "content": "hi", "name": "\xff"}]}', None),
        (b'{"model": "a", "messages": []}', "messages"),
        (b'{"model": "a", "messages": [{"role": "user"}], "n": 1.5}', "n"),
        (b'{"model": "a", "messages": [{"role": "user"}], "modl": 1}', "modl"),
        (b"[]", None),
        (b"", None),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(raw)
    assert caught.value.param == param


def test_an_integer_may_be_written_with_a_point() -> None:
    request = parse_chat(
        b'{"model": "a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64.0}'
    )
    assert request.body.max_tokens == 64
