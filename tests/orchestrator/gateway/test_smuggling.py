"""Bytes that two parsers could read differently: no request hides in the body of another."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from conftest import Start

POOL = "experts: {a: {kind: echo}}\nrouters: {auto: {kind: first}}\n"
HIDDEN = b"GET /health/live HTTP/1.1\r\nhost: hidden\r\n\r\n"
BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "outer"}]}).encode()
STATUS = re.compile(rb"HTTP/1\.1 \d{3} ")
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def told(start: Start, head: bytes, body: bytes) -> bytes:
    """All that comes back for a request, until the gateway closes or goes quiet."""
    url = urlsplit(start(POOL + "server: {client_timeout_s: 0.2}\n").url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n" + body)
        received = b""
        while not received.endswith((b'"}}', b"}}}")) or b"HTTP/1.1 200" in received:
            connection.settimeout(1.5 if received else 20)
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                break
            if not piece:
                break
            received += piece
    return received


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: %d\r\ntransfer-encoding: chunked\r\n" % len(BODY),
        b"transfer-encoding: chunked\r\ncontent-length: %d\r\n" % len(BODY),
        b"content-length: %d\r\ncontent-length: %d\r\n" % (len(BODY), len(BODY) + len(HIDDEN)),
        b"content-length: %d, %d\r\n" % (len(BODY), len(BODY)),
        b"content-length: +%d\r\n" % len(BODY),
        b"content-length: -1\r\n",
        b"content-length: 0x10\r\n",
        b"content-length: %d \r\n 0\r\n" % len(BODY),
        b"content-length : %d\r\n" % len(BODY),
        b"content-length: 99999999999999999999999\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"x: y\rcontent-length: %d\r\n" % len(BODY),
        b"x: y\ncontent-length : 1\r\n",
    ],
)
def test_a_length_that_can_be_read_in_two_ways_is_refused(start: Start, head: bytes) -> None:
    received = told(start, head, BODY + HIDDEN)
    assert received.startswith(b"HTTP/1.1 400"), received
    assert len(STATUS.findall(received)) == 1
    assert b"live" not in received


@pytest.mark.parametrize(
    "body",
    [
        b"%x;x=\r\n%b\r\n0\r\n" % (len(BODY), BODY) + b"\r\n",
        CHUNKED,
    ],
)
def test_chunks_are_read_as_they_are_framed(start: Start, body: bytes) -> None:
    received = told(start, b"transfer-encoding: chunked\r\nconnection: close\r\n", body)
    assert received.startswith(b"HTTP/1.1 200")
    assert len(STATUS.findall(received)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"-1\r\n" + BODY,
        b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"%x \r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"fffffffffffffffffff\r\n" + BODY,
        b"%x\r\n%bx\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"%x\n%b\n0\n\n" % (len(BODY), BODY),
    ],
)
def test_chunks_that_are_none_end_the_connection(start: Start, body: bytes) -> None:
    received = told(start, b"transfer-encoding: chunked\r\n", body + HIDDEN)
    assert received.startswith(b"HTTP/1.1 400"), received
    assert b"live" not in received


def test_what_follows_a_refused_body_is_not_a_request(start: Start) -> None:
    url = urlsplit(start(POOL + "server: {max_body_mb: 0.001}\n").url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        large = b"x" * 5000 + HIDDEN
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(large)
        connection.sendall(head + large + b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 413")
    assert b'"live"' not in received
    # The next real request may be answered, or the connection be closed: both are sound.
    assert len(STATUS.findall(received)) <= 2
