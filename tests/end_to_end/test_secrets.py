"""Secrets of a running gateway are in nothing that it says: answers, errors, logs, metrics, journal."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Served

UPSTREAM_KEY = "sk-upstream-secret-0123456789"
HEADER = "header-secret-0123456789"
ADMIN_KEY = "admin-secret-0123456789"
PASSWORD = "redis-secret-0123456789"
PROMPT = "a-private-prompt-0123456789"


@contextmanager
def talkative() -> Iterator[int]:
    """An upstream that repeats all that it was sent in its refusal, and sets a cookie."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    said = connection.recv(65536).decode("latin-1").replace('"', "'")
                    said = said.replace("\r", " ").replace("\n", " ")
                    body = f'{{"error": {{"message": "You sent {said}", "type": "x", "code": "y"}}}}'
                    connection.sendall(
                        f"HTTP/1.1 400 Bad\r\nset-cookie: {UPSTREAM_KEY}\r\nx-internal: {HEADER}\r\n"
                        f"content-length: {len(body)}\r\n\r\n{body}".encode("latin-1")
                    )

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_no_secret_is_said(serve: Callable[..., Served], tmp_path: Path) -> None:
    with (
        FakeUpstream(faults={"no": Fault.UNAUTHORIZED, "cut": Fault.ERROR_FRAME}) as upstream,
        talkative() as port,
    ):
        here = upstream.base_url
        experts = {"no": here, "cut": here, "yes": here, "echoing": f"http://127.0.0.1:{port}/v1"}
        lines = "".join(
            f"  {name}: {{kind: openai, base_url: '{url}', model: {name}, api_key: {UPSTREAM_KEY},"
            f" headers: {{x-extra: {HEADER}}}}}\n"
            for name, url in experts.items()
        )
        text = (
            f"server: {{admin_key: {ADMIN_KEY}}}\n"
            f"cache: {{shared: {{kind: redis, url: 'redis://:{PASSWORD}@127.0.0.1:9/0'}}}}\n"
            "plugins: {allow: [coe-test-plugin]}\nrouters: {auto: {kind: first}}\n"
            f"journal: {{dir: journal}}\nexperts:\n{lines}"
        )
        path = tmp_path / "coe.yaml"
        path.write_text(text)
        served = serve()
        said: list[str] = []
        with httpx.Client(base_url=served.url, timeout=20, verify=False) as client:
            body = {"messages": [{"role": "user", "content": PROMPT}]}
            for model in ("auto", "no", "cut", "echoing", "nobody"):
                for stream in (False, True):
                    response = client.post(
                        "/v1/chat/completions",
                        json={**body, "model": model, "stream": stream},
                        headers={"authorization": "Bearer coe-000000000000-caller-secret"},
                    )
                    assert "set-cookie" not in response.headers
                    assert "x-internal" not in response.headers
                    said.append(f"{response.headers} {response.text}".replace(PROMPT, "", 1))
            refused = said[6]
            assert "expert_rejected" in refused
            assert "***" in refused
            for method, where in (
                ("GET", "/metrics"),
                ("GET", "/openapi.json"),
                ("GET", "/v1/models"),
                ("POST", "/v1/route"),
                ("POST", "/admin/reload"),
            ):
                response = client.request(
                    method, where, json={**body, "model": "auto"} if "route" in where else None
                )
                said.append(f"{response.headers} {response.text}")
            path.write_text(text.replace("kind: first", "kind: frist").replace("model: no", "model: 7"))
            served.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 30
            while "configuration refused" not in served.log:
                assert time.monotonic() < deadline, served.log
                time.sleep(0.02)
        assert served.stop() == 0
    said.append(served.log)
    said += [each.read_bytes().decode("latin-1") for each in (tmp_path / "journal").iterdir()]
    for secret in (UPSTREAM_KEY, HEADER, ADMIN_KEY, PASSWORD, "caller-secret"):
        assert not [each[:300] for each in said if secret in each], secret
    assert PROMPT not in served.log
    assert not any(PROMPT in each for each in said[-2:])
