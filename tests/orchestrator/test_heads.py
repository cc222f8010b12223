"""Heads told from their bytes: the same as parsing them, or nothing."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.heads import MAX_HEAD_BYTES, SeenHead, seen


def message(head: bytes, body: bytes) -> bytes:
    return head.replace(b"LENGTH", b"%d" % len(body)) + body


def headers_of(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}

    class Told:
        def on_header(self, name: bytes, value: bytes) -> None:
            found[name.lower()] = value

    httptools.HttpRequestParser(Told()).feed_data(data)
    return found


def learnt(data: bytes) -> SeenHead | None:
    return seen(data, headers_of(data))


HEAD = b"POST /v1 HTTP/1.1\r\nhost: a\r\nContent-Length: LENGTH\r\nauthorization: Bearer x\r\n\r\n"


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=1200))
def test_the_same_head_gives_length_and_body(first: bytes, second: bytes) -> None:
    head = learnt(message(HEAD, first))
    assert head is not None
    assert head.body(message(HEAD, second)) == (b"%d" % len(second), second)


@pytest.mark.parametrize(
    "data",
    [
        message(HEAD, b"abc") + b"x",
        message(HEAD, b"abc")[:-1],
        message(HEAD, b"abc") * 2,
        message(HEAD.replace(b"host: a", b"host: b"), b"abc"),
        message(HEAD.replace(b"Bearer x", b"Bearer y"), b"abc"),
        message(HEAD.replace(b"LENGTH", b"LENGTH, 3"), b"abc"),
        message(HEAD.replace(b"LENGTH", b"+3"), b"abc"),
        message(HEAD.replace(b"LENGTH", b"\xb2"), b"ab"),
        message(HEAD.replace(b"LENGTH", b""), b""),
        message(HEAD, b""),
        b"",
    ],
)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    head = learnt(message(HEAD, b"abc"))
    assert head is not None
    assert head.body(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        message(HEAD.replace(b"host: a", b"host: " + b"a" * MAX_HEAD_BYTES), b"abc"),
    ],
)
def test_a_head_that_bytes_do_not_tell_is_not_kept(data: bytes) -> None:
    assert learnt(data) is None


def test_a_message_that_is_not_alone_is_not_kept() -> None:
    alone = message(HEAD, b"abc")
    assert seen(alone + b"x", headers_of(alone)) is None
    assert seen(alone[:-1], headers_of(alone)) is None


def test_a_length_within_another_value_is_not_taken_for_the_header() -> None:
    head = HEAD.replace(b"host: a", b"x-note: content-length: 7")
    known = learnt(message(head, b"abc"))
    assert known is not None
    assert known.body(message(head, b"four")) == (b"4", b"four")
