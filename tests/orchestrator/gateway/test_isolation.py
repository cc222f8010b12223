"""Prompts that look alike share no decision, tenants share none at all, and connections mix nothing up."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Running, Start

POOL = "experts: {a: {kind: echo}, b: {kind: echo}}\nrouters: {auto: {kind: first}}\n"


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def tool(name: str, description: str = "") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (user("a"), user("A")),
        (user("a"), user("a ")),
        (user("é"), user("e\N{COMBINING ACUTE ACCENT}")),
        (user("a\0b"), user("a")),
        (user("a\0b"), user("ab")),
        (user("\\u0061"), user("a")),
        (user("a\xa1b"), user("a\xa1\xa1b")),
        (user("x" * 31), user("x" * 32)),
        (user("x" * 255), user("x" * 256)),
        (user("x" * 65535), user("x" * 65536)),
        (
            {**user("a"), "tools": [tool("b", "c")]},
            {**user("a"), "tools": [tool("bc")]},
        ),
        (
            {**user("a"), "tools": [tool("b", "c"), tool("d")]},
            {**user("a"), "tools": [tool("b"), tool("c", "d")]},
        ),
        ({**user("a"), "tools": [tool("b")]}, user('a", [["b", ""]], ["chat", "tools"]')),
        ({**user("a"), "stream": False}, {**user("a"), "stream": True}),
        ({**user("a"), "max_tokens": 1}, {**user("a"), "max_tokens": 2}),
        ({**user("a"), "response_format": {"type": "json_object"}}, user("a")),
        (user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), user("a")),
    ],
)
def test_what_looks_alike_is_decided_apart(start: Start, one: dict[str, Any], other: dict[str, Any]) -> None:
    gateway = start(
        POOL.replace("{kind: echo}", "{kind: echo, card: {capabilities: [chat, stream, tools, json_schema]}}")
    )

    def cached(body: dict[str, Any]) -> str:
        response = gateway.client.post("/v1/route", json={"model": "auto", **body})
        assert response.status_code == 200, response.text
        return response.headers["x-coe-cache"]

    assert [cached(one), cached(other), cached(one), cached(other)] == ["miss", "miss", "hit", "hit"]


def answers(raw: bytes) -> list[tuple[int, str]]:
    """Status and content of responses that follow each other."""
    found: list[tuple[int, str]] = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        body, raw = json.loads(raw[:length]), raw[length:]
        found.append((int(head.split()[1]), body["choices"][0]["message"]["content"]))
    return found


def post(text: str, *, last: bool = False) -> bytes:
    body = json.dumps({"model": "auto", **user(text)}).encode()
    close = "connection: close\r\n" if last else ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{close}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connect(gateway: Running) -> socket.socket:
    url = urlsplit(gateway.url)
    return socket.create_connection((url.hostname, url.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def test_requests_sent_in_one_go_are_answered_in_their_order(start: Start) -> None:
    # The first answers last: it must still come first.
    with FakeUpstream(Fault.SLOW_HEADERS, delay_s=0.02) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        texts = [f"pipelined {number} " + "x" * (200 - 7 * number) for number in range(20)]
        with connect(gateway) as connection:
            connection.sendall(b"".join(post(text, last=text == texts[-1]) for text in texts))
            assert answers(read_all(connection)) == [(200, text) for text in texts]


def test_requests_in_pieces_of_any_size_do_not_mix(start: Start) -> None:
    gateway = start(POOL)
    ends: dict[int, list[tuple[int, str]]] = {}

    def caller(number: int) -> None:
        texts = [f"caller {number} says {turn}" for turn in range(5)]
        sent = b"".join(post(text, last=text == texts[-1]) for text in texts)
        with connect(gateway) as connection:
            for at in range(0, len(sent), 1 + 13 * number):
                connection.sendall(sent[at : at + 1 + 13 * number])
            ends[number] = answers(read_all(connection))

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ends == {
        number: [(200, f"caller {number} says {turn}") for turn in range(5)] for number in range(8)
    }


def test_who_leaves_early_leaves_nothing_to_the_next(start: Start) -> None:
    with FakeUpstream(Fault.SLOW_TOKENS, delay_s=0.02) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        for number in range(6):
            with connect(gateway) as connection:
                connection.sendall(post(f"left {number} " + "secret " * 20))
                upstream.run(upstream.wait_served(2 * number + 1))
            # The upstream's connection was in the middle of somebody else's answer: it is not used again.
            assert (
                gateway.chat(f"stayed {number}").json()["choices"][0]["message"]["content"]
                == f"stayed {number}"
            )
        upstream.run(upstream.wait_cancelled(6))
