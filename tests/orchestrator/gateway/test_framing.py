"""Bodies and events in whatever pieces they come."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coe.errors import InvalidRequest, RequestTooLarge
from coe.events import last_end
from coe.gateway._asgi import ClientGone, read_body
from coe.gateway._facts import annotate, annotate_first_event
from coe.testing import events
from coe.wire import parse_chat

LIMIT = 100
pieces = st.lists(st.binary(max_size=60), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=5)


def read(parts: list[bytes], *, whole: bool = True, length: int | None = None) -> bytes:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1 or not whole}
        for at, part in enumerate(parts or [b""])
    ]
    messages.append({"type": "http.disconnect"})
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return asyncio.run(read_body({"headers": dict(headers)}, receive, LIMIT))


@given(pieces)
def test_a_body_is_its_pieces_or_too_large(parts: list[bytes]) -> None:
    body = b"".join(parts)
    if len(body) <= LIMIT:
        assert read(parts) == body
    else:
        with pytest.raises(RequestTooLarge):
            read(parts)


@given(pieces, st.integers(LIMIT + 1, 10**12))
def test_a_body_that_is_announced_too_large_is_not_read(parts: list[bytes], length: int) -> None:
    with pytest.raises(RequestTooLarge):
        read(parts, length=length)


@given(st.lists(st.binary(max_size=10), max_size=4))
def test_half_a_body_is_no_body(parts: list[bytes]) -> None:
    with pytest.raises(ClientGone):
        read(parts, whole=False)


@given(st.binary(max_size=200) | objects.map(lambda each: json.dumps(each).encode()))
def test_no_body_breaks_the_parser(raw: bytes) -> None:
    try:
        request = parse_chat(raw)
    except InvalidRequest:
        return
    assert request.body.messages


@given(
    objects,
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", " "]),
    st.sampled_from(["", ": a comment", "event: message", "id: 1"]),
    st.lists(objects, max_size=2),
)
def test_only_the_first_event_is_touched(
    first: dict[str, Any], end: str, space: str, before: str, rest: list[dict[str, Any]]
) -> None:
    def event(data: dict[str, Any], line: str = "") -> str:
        return f"{line}{end if line else ''}data:{space}{json.dumps(data)}{end}{end}"

    following = "".join(map(event, rest)).encode()
    piece = event(first, before).encode() + following
    touched = annotate_first_event(piece, b'"expert"', b'{"fact": 1}')
    assert touched.endswith(following)
    told, *others = map(json.loads, events(touched))
    assert told == {**first, "model": "expert", "coe": {"fact": 1}}
    assert others == rest


names = st.sampled_from(["id", "model", "coe", 'a"model":"b', "choices", "\\"]) | st.text(max_size=5)
values = st.sampled_from(["model", '"model":"x"', "a\\"]) | st.text(max_size=9) | st.none() | st.integers()
members = st.dictionaries(
    names, values | st.dictionaries(names, values, max_size=2) | st.lists(values, max_size=2)
)


@given(members, st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :  ")]), st.booleans())
@example(completion={"model": 0, "": None}, separators=(",", ":"), ascii_only=True)
@example(completion={"model": "", "": None}, separators=(",", ":"), ascii_only=True)
def test_a_completion_is_annotated_the_same_whether_it_was_checked_or_not(
    completion: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    data = json.dumps(completion, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "replace")
    completion = json.loads(data)
    wanted = {**completion, "model": "expert", "coe": {"fact": 1}}
    for checked in (False, True):
        annotated = annotate(data, b'"expert"', b'{"fact": 1}', checked=checked)
        pairs = json.loads(annotated, object_pairs_hook=list)
        assert len(pairs) == len(wanted)
        assert json.loads(annotated) == wanted


@given(st.lists(st.sampled_from([b"data: {}\n\n", b"data: x\r\n\r\n", b": c\n\n"])), st.integers(0, 60))
def test_what_is_forwarded_ends_with_an_event(whole: list[bytes], cut: int) -> None:
    data = b"".join(whole)[:cut]
    end = max(last_end(data), 0)
    assert not end or data[:end].endswith((b"\n\n", b"\r\n\r\n"))
    assert b"\n\n" not in data[end:]
