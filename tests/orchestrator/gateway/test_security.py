"""Nothing that a caller sends chooses where a request goes or what a response looks like."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Start

EVIL = "http://127.0.0.1:9/v1"
BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}


def behind(upstream: FakeUpstream, more: str = "") -> str:
    return (
        f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a, api_key: sk-upstream}}}}\n"
        f"routers: {{auto: {{kind: first}}}}\n{more}"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": EVIL},
        {"api_base": EVIL},
        {"api_key": "sk-other"},
        {"extra_headers": {"host": "evil"}},
        {"extra_body": {"base_url": EVIL}},
        {"model": EVIL},
        {"model": "a\r\nhost: evil"},
        {"model": "../a"},
    ],
)
def test_no_field_chooses_an_upstream(start: Start, upstream: FakeUpstream, fields: dict[str, Any]) -> None:
    response = start(behind(upstream)).client.post("/v1/chat/completions", json={**BODY, **fields})
    assert response.status_code in (400, 404)
    assert upstream.connections == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "127.0.0.1:9"),
        ("x-forwarded-host", "127.0.0.1:9"),
        ("forwarded", "host=127.0.0.1:9"),
        ("x-coe-base-url", EVIL),
        ("x-coe-expert", "b"),
        ("openai-organization", "evil"),
        ("authorization", "Bearer sk-caller"),
        ("cookie", "a=b"),
        ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01 evil"),
    ],
)
def test_no_header_chooses_an_upstream_or_gets_there(
    start: Start, upstream: FakeUpstream, name: str, value: str
) -> None:
    gateway = start(behind(upstream))
    response = gateway.client.post("/v1/chat/completions", json=BODY, headers={name: value})
    assert response.status_code == 200
    sent = dict(upstream.received[-1].headers)
    assert sent["host"] == urlsplit(upstream.url).netloc
    assert sent["authorization"] == "Bearer sk-upstream"
    assert set(sent) == {"host", "accept-encoding", "authorization", "content-type", "content-length"}


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/v1/chat/completions", "//127.0.0.1:9/v1/models"])
def test_the_target_of_a_request_chooses_no_upstream(
    start: Start, upstream: FakeUpstream, target: str
) -> None:
    url = urlsplit(start(behind(upstream)).url)
    raw = json.dumps(BODY).encode()
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        head = f"POST {target} HTTP/1.1\r\nhost: evil\r\nconnection: close\r\n"
        connection.sendall(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404"))
    assert upstream.served == received.startswith(b"HTTP/1.1 200")


def test_a_redirect_is_not_followed(start: Start) -> None:
    with FakeUpstream() as elsewhere, socket.create_server(("127.0.0.1", 0)) as redirecting:
        port = redirecting.getsockname()[1]
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: 'http://127.0.0.1:{port}/v1', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )

        def redirect() -> None:
            connection, _ = redirecting.accept()
            with connection:
                connection.recv(65536)
                location = f"location: {elsewhere.base_url}/chat/completions\r\ncontent-length: 0\r\n\r\n"
                connection.sendall(b"HTTP/1.1 307 Temporary Redirect\r\n" + location.encode())

        thread = threading.Thread(target=redirect)
        thread.start()
        response = gateway.chat("x")
        thread.join(20)
        assert response.status_code == 503
        assert elsewhere.connections == 0


@pytest.mark.parametrize("name", ["a\r\nset-cookie: evil=1", "a\tb", "ä", 'q"uote', "a, b", "a%0d%0ab"])
def test_names_cannot_split_a_response(start: Start, name: str) -> None:
    experts = json.dumps({name: {"kind": "echo", "card": {"domains": ["x"]}}, "b": {"kind": "echo"}})
    mapped = json.dumps({"general": [name]})
    gateway = start(f"experts: {experts}\nrouters: {{auto: {{kind: two-step, map: {mapped}}}}}\n")
    for path, body in (
        ("/v1/chat/completions", BODY),
        ("/v1/chat/completions", {**BODY, "stream": True}),
        ("/v1/chat/completions", {**BODY, "model": name}),
        ("/v1/route", BODY),
    ):
        response = gateway.client.post(path, json=body)
        assert response.status_code == 200
        assert "set-cookie" not in response.headers
        assert all(value.isascii() and value.isprintable() for value in response.headers.values())


def test_what_an_upstream_says_of_a_failure_does_not_carry_its_secrets(start: Start) -> None:
    with FakeUpstream(Fault.UNAUTHORIZED) as upstream:
        refused = start(behind(upstream)).chat("x")
        assert refused.status_code == 503
        assert "sk-upstream" not in refused.text
        assert refused.json()["error"]["message"] == "`a` answered 401."


def test_urls_in_a_request_are_data_and_nobody_fetches_them(start: Start, upstream: FakeUpstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/latest/meta-data"
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a,"
            " card: {capabilities: [chat, stream, tools, vision, json_schema]}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        content = [
            {"type": "text", "text": f"look at {url}"},
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        ]
        tool = {
            "type": "function",
            "function": {"name": "f", "description": url, "parameters": {"$ref": url}},
        }
        schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"$ref": url}}}
        fields = {"tools": [tool], "response_format": schema, "user": url, "metadata": {"callback_url": url}}
        assert gateway.chat(content, **fields).status_code == 200
        route = {"model": "auto", "messages": [{"role": "user", "content": content}], **fields}
        assert gateway.client.post("/v1/route", json=route).status_code == 200
        sent = upstream.received[-1].json()
        assert sent["messages"][0]["content"] == content
        assert {key: sent[key] for key in fields} == fields
        with pytest.raises(BlockingIOError):
            trap.accept()


@pytest.mark.parametrize("stream", [False, True])
def test_what_an_upstream_says_is_short_and_cannot_break_out_of_an_envelope(
    start: Start, stream: bool
) -> None:
    said = '"}}\r\n\r\ndata: [DONE]\r\n\r\n<script>alert(1)</script>\x00' + "x" * 40_000
    body = json.dumps({"error": {"message": said, "type": "t", "code": "c", "param": "p" * 10_000}}).encode()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = "HTTP/1.1 422 No\r\nx-coe-expert: evil\r\nset-cookie: a=b\r\n"
                connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

        thread = threading.Thread(target=refuse)
        thread.start()
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: 'http://127.0.0.1:{port}/v1', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        response = gateway.chat("x", stream=stream)
        thread.join(20)
    assert response.headers["content-type"] == "application/json"
    assert "set-cookie" not in response.headers
    assert response.headers.get("x-coe-expert") != "evil"
    error = response.json()["error"]
    assert error["code"] == "expert_rejected"
    assert len(error["message"]) < 600
    assert len(response.content) < 2000
