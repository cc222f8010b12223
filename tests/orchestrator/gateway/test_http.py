"""HTTP/1.1 as callers speak it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Running, Start

ECHO = "experts: {a: {kind: echo}}\nrouters: {auto: {kind: first}}\n"
PATH = b"/v1/chat/completions"


def body(text: str, **fields: object) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **fields}).encode()


def post(data: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"POST %b HTTP/%b" % (PATH, version), b"host: x", b"content-length: %d" % len(data), *headers]
    return b"\r\n".join([*lines, b"", data])


@contextmanager
def connected(gateway: Running) -> Iterator[socket.socket]:
    url = urlsplit(gateway.url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        yield connection


def answer(connection: socket.socket, received: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """The next answer: its head, its body, and what came after it."""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(rest) < length:
        piece = connection.recv(65536)
        assert piece, rest
        rest += piece
    return head, rest[:length], rest[length:]


def said(data: bytes) -> str:
    return json.loads(data)["choices"][0]["message"]["content"]


def test_the_same_head_again_whole_or_in_pieces_or_with_more_behind_it(start: Start) -> None:
    texts = ["one", "two", "three, which is longer", "é" * 700, "five", "six", "seven"]
    with connected(start(ECHO)) as connection:
        for text in texts[:3]:
            connection.sendall(post(body(text)))
            assert said(answer(connection)[1]) == text
        whole = post(body(texts[3]))
        connection.sendall(whole[:-9])
        connection.sendall(whole[-9:])
        assert said(answer(connection)[1]) == texts[3]
        connection.sendall(post(body(texts[4])) + post(body(texts[5])))
        _, first, rest = answer(connection)
        _, second, rest = answer(connection, rest)
        assert [said(first), said(second), rest] == [texts[4], texts[5], b""]
        connection.sendall(post(body(texts[6])))
        assert said(answer(connection)[1]) == texts[6]


def test_requests_of_one_connection_are_answered_in_turn(start: Start) -> None:
    with connected(start(ECHO)) as connection:
        for number in range(3):
            connection.sendall(post(body(f"hello {number}")))
            head, data, rest = answer(connection)
            assert (head.split()[1], said(data), rest) == (b"200", f"hello {number}", b"")


def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    texts = [f"hello {number}" for number in range(5)]
    with connected(start(ECHO)) as connection:
        connection.sendall(b"".join(post(body(text)) for text in texts))
        rest, answers = b"", []
        for _ in texts:
            _, data, rest = answer(connection, rest)
            answers.append(said(data))
    assert (answers, rest) == (texts, b"")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_request_may_come_in_any_pieces(start: Start, size: int) -> None:
    request = post(body("hello"), b"x-other: " + b"a" * 2000) * 2
    with connected(start(ECHO)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(request), size):
            connection.sendall(request[at : at + size])
        _, first, rest = answer(connection)
        _, second, _ = answer(connection, rest)
    assert said(first) == said(second) == "hello"


def test_a_body_in_chunks_is_read(start: Start) -> None:
    data = body("hello")
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 9]), data[at : at + 9]) for at in range(0, len(data), 9)
    )
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % PATH
    with connected(start(ECHO)) as connection:
        connection.sendall(head + chunks + b"0\r\n\r\n")
        assert said(answer(connection)[1]) == "hello"


def test_a_caller_may_ask_whether_to_send_the_body(start: Start) -> None:
    data = body("hello")
    request = post(data, b"expect: 100-continue")
    with connected(start(ECHO)) as connection:
        connection.sendall(request[: -len(data)])
        interim = connection.recv(65536)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(data)
        assert said(answer(connection)[1]) == "hello"


def test_a_body_that_is_refused_unread_does_not_spoil_the_connection(start: Start) -> None:
    long = body("x" * 3000)
    with connected(start(ECHO + "server: {max_body_mb: 0.001}\n")) as connection:
        connection.sendall(post(long) + post(body("hello")))
        head, data, rest = answer(connection)
        assert head.split()[1] == b"413"
        assert json.loads(data)["error"]["code"] == "request_too_large"
        assert said(answer(connection, rest)[1]) == "hello"


@pytest.mark.parametrize(
    "request_", [post(body("hello"), version=b"1.0"), post(body("hello"), b"connection: close")]
)
def test_a_connection_ends_when_the_caller_wants_only_one_answer(start: Start, request_: bytes) -> None:
    with connected(start(ECHO)) as connection:
        connection.sendall(request_)
        head, data, _ = answer(connection)
        assert b"connection: close" in head
        assert said(data) == "hello"
        assert connection.recv(1) == b""


def test_a_stream_for_an_old_caller_has_no_chunks(start: Start) -> None:
    with connected(start(ECHO)) as connection:
        connection.sendall(post(body("hello", stream=True), version=b"1.0"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, _, events = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert events.startswith(b"data: {")
    assert events.endswith(b"data: [DONE]\n\n")


def test_a_head_is_answered_without_a_body(start: Start) -> None:
    with connected(start(ECHO)) as connection:
        connection.sendall(b"HEAD /health/live HTTP/1.1\r\nhost: x\r\n\r\n" + post(body("hello")))
        received = b""
        while received.count(b"HTTP/1.1") < 2:
            received += connection.recv(65536)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.split()[1] == b"405"
    assert rest.startswith(b"HTTP/1.1 200")


def test_another_protocol_is_not_spoken(start: Start) -> None:
    upgrade = post(body("hello"), b"connection: upgrade", b"upgrade: h2c")
    with connected(start(ECHO)) as connection:
        connection.sendall(upgrade)
        head, data, _ = answer(connection)
        assert head.startswith(b"HTTP/1.1 200")
        assert said(data) == "hello"


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_goes_away_ends_the_expert_s_work_at_once(start: Start, stream: bool) -> None:
    fault = Fault.STALL if stream else Fault.HANG
    with FakeUpstream(fault) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        with connected(gateway) as connection:
            connection.sendall(post(body("hello", stream=stream)))
            upstream.run(upstream.wait_served(1))
        upstream.run(upstream.wait_cancelled(1))
