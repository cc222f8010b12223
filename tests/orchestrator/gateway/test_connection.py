"""Callers that send too much, too slowly, nonsense, or do not read."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Running, Start

ECHO = "experts: {a: {kind: echo}}\nrouters: {auto: {kind: first}}\n"
HASTY = ECHO + "server: {client_timeout_s: 0.2}\n"
BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hello"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"


@contextmanager
def connected(gateway: Running) -> Iterator[socket.socket]:
    url = urlsplit(gateway.url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def status_and_code(response: bytes) -> tuple[int, str]:
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow:", "request_timeout"),
        (POST % 100 + b"\r\n{", "request_timeout"),
        (b"", ""),
        (b"\r\n\r\n", ""),
    ],
)
def test_a_request_that_does_not_come_in_time_is_given_up(start: Start, sent: bytes, code: str) -> None:
    with connected(start(HASTY)) as connection:
        connection.sendall(sent)
        response = until_closed(connection)
    if code:
        assert status_and_code(response) == (408, code)
    else:
        assert response == b""


def test_line_breaks_after_an_answer_do_not_hold_a_connection(start: Start) -> None:
    with connected(start(HASTY)) as connection:
        connection.sendall(POST % len(BODY) + b"\r\n" + BODY)
        answer = b""
        while not answer.endswith(b"}}"):  # of the body, whose last member is `coe`
            answer += connection.recv(65536)
        connection.sendall(b"\r\n")
        assert until_closed(connection) == b""


def test_a_body_may_take_its_time_as_long_as_it_comes(start: Start) -> None:
    long = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "x" * 60_000}]}).encode()
    with connected(start(HASTY)) as connection:
        connection.sendall(POST % len(long) + b"connection: close\r\n\r\n")
        for at in range(0, len(long), 20_000):  # far above 10 kB/s, and longer than the timeout
            connection.sendall(long[at : at + 20_000])
            time.sleep(0.4)
        assert until_closed(connection).startswith(b"HTTP/1.1 200")


def test_an_answer_that_is_not_read_ends_the_expert_s_work(start: Start) -> None:
    with FakeUpstream(Fault.ENDLESS) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\nserver: {client_timeout_s: 0.5}\n"
        )
        raw = json.dumps({**json.loads(BODY), "stream": True}).encode()
        with connected(gateway) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(POST % len(raw) + b"\r\n" + raw)
            upstream.run(upstream.wait_cancelled(1))


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nx-long: " + b"a" * 70_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2500, 431, "headers_too_large"),
        (b"GET /" + b"a" * 70_000, 431, "headers_too_large"),
        (b"hello\r\n\r\n", 400, "invalid_http"),
        (b"GET http:// HTTP/1.1\r\n\r\n", 400, "invalid_http"),
        # A length and chunks: which of them a proxy in front believes is how requests are smuggled.
        (POST % 5 + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "invalid_http"),
        (POST % 5 + b"content-length: 6\r\n\r\nhello", 400, "invalid_http"),
        (b"GET / HTTP/1.1\r\nx\r\n y: z\r\n\r\n", 400, "invalid_http"),
        (b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n", 400, "invalid_http"),
    ],
)
def test_what_is_no_request_gets_an_envelope_and_an_end(
    start: Start, sent: bytes, status: int, code: str
) -> None:
    with connected(start(ECHO)) as connection:
        connection.sendall(sent)
        assert status_and_code(until_closed(connection)) == (status, code)


def test_nonsense_behind_a_request_does_not_get_into_its_answer(start: Start) -> None:
    with FakeUpstream(Fault.STALL) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        raw = json.dumps({**json.loads(BODY), "stream": True}).encode()
        with connected(gateway) as connection:
            connection.sendall(POST % len(raw) + b"\r\n" + raw)
            upstream.run(upstream.wait_served(1))
            first = connection.recv(65536)
            connection.sendall(b"nonsense\r\n\r\n")
            rest = until_closed(connection)
    assert first.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" not in rest
