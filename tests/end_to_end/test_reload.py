"""Another configuration, while requests are served."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from coe.testing import FakeUpstream, Fault
from coe_routers.routing import BUILTIN

if TYPE_CHECKING:
    from conftest import Served

    Serve = Callable[..., Served]

# Real processes that are killed, drained and reloaded: minutes, not seconds.
pytestmark = pytest.mark.slow

KEY = "an-admin-key-of-the-tests"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "one two three"}]}


def config(upstream: FakeUpstream, *experts: str, server: str = "max_attempts: 3") -> str:
    return f"""
server: {{{server}}}
plugins: {{allow: [coe-test-plugin]}}
routers: {{auto: {{kind: first}}}}
experts:
""" + "".join(
        f"  {name}: {{kind: openai, base_url: '{upstream.base_url}', model: {name}, api_key: sk-secret}}\n"
        for name in experts
    )


def until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def answering(served: Served) -> str:
    return httpx.post(f"{served.url}/v1/chat/completions", json=BODY, timeout=20, verify=False).headers[
        "x-coe-expert"
    ]


def reloads(served: Served, outcome: str) -> int:
    found = [
        line for line in served.metrics().splitlines() if f'reloads_total{{outcome="{outcome}"}}' in line
    ]
    return int(float(found[0].split()[-1])) if found else 0


def test_reload_under_load_loses_no_request(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    stop, answers = threading.Event(), list[tuple[int, str, bool]]()

    def ask(stream: bool) -> None:
        with httpx.Client(base_url=served.url, timeout=20, verify=False) as client:
            while not stop.is_set():
                response = client.post("/v1/chat/completions", json={**BODY, "stream": stream})
                whole = response.content.endswith(b"data: [DONE]\n\n") if stream else "three" in response.text
                answers.append((response.status_code, response.headers.get("x-coe-expert", ""), whole))

    with FakeUpstream(Fault.SLOW_TOKENS, delay_s=0.005) as upstream:
        path.write_text(config(upstream, "a"))
        served = serve()
        callers = [threading.Thread(target=ask, args=(number % 2 == 1,)) for number in range(4)]
        for caller in callers:
            caller.start()
        for number in range(6):
            path.write_text(config(upstream, "ab"[(number + 1) % 2]))
            served.process.send_signal(signal.SIGHUP)
            until(lambda done=number + 1: reloads(served, "applied") >= done, served.log)
        stop.set()
        for caller in callers:
            caller.join(30)
    assert len(answers) > 12
    assert {(status, whole) for status, _, whole in answers} == {(200, True)}
    assert {expert for _, expert, _ in answers} == {"a", "b"}


def test_a_configuration_from_a_pipe_is_never_waited_for_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with FakeUpstream() as upstream:
        writer = threading.Thread(target=path.write_text, args=(config(upstream, "a"),), daemon=True)
        writer.start()
        served = serve("--config", str(path))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(served, "refused") == 1, served.log)
        assert answering(served) == "a"
        assert served.stop() == 0
    assert f"{path} is a pipe: it was read when the server started" in served.log


def test_a_bad_file_changes_nothing_and_is_explained(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    with FakeUpstream() as upstream:
        path.write_text(config(upstream, "a"))
        served = serve()
        path.write_text(config(upstream, "b").replace("max_attempts: 3", "max_attemps: 3"))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(served, "refused") >= 1, served.log)
        assert answering(served) == "a"
        assert "coe.yaml:2: server.max_attemps: unknown key. Did you mean `max_attempts`?" in served.log

        # Nobody has to say that the file has changed, and the old text rolls back.
        path.write_text(config(upstream, "b", server="max_attempts: 2"))
        until(lambda: answering(served) == "b", served.log)
        assert "configuration changed: server.max_attempts: 3 → 2" in served.log
        path.write_text(config(upstream, "a"))
        until(lambda: answering(served) == "a", served.log)
    assert "sk-secret" not in served.log


@pytest.mark.parametrize("damage", ["corrupt", "schema", "gone"])
def test_a_router_that_was_damaged_is_refused_and_the_running_one_stays(
    serve: Serve, tmp_path: Path, damage: str
) -> None:
    artifact = tmp_path / "router"
    shutil.copytree(BUILTIN, artifact)
    text = (
        "experts: {a: {kind: echo}, b: {kind: echo}}\nrouters: {auto: {kind: two-step, artifact: router}}\n"
    )
    (tmp_path / "coe.yaml").write_text(text)
    served = serve()

    def decided() -> dict[str, Any]:
        body = {"model": "auto", "prompt": "Sort a list in Python"}
        return httpx.post(f"{served.url}/v1/route", json=body, timeout=20, verify=False).json()

    before = decided()
    manifest = artifact / "manifest.json"
    if damage == "corrupt":
        weights = artifact / "model.safetensors"
        held = bytearray(weights.read_bytes())
        held[-1] ^= 1
        weights.write_bytes(held)
    elif damage == "schema":
        manifest.write_text(re.sub(r'"schema": *\d+', '"schema": 999', manifest.read_text()))
    else:
        manifest.unlink()
    served.process.send_signal(signal.SIGHUP)
    until(lambda: reloads(served, "refused") == 1, served.log)
    assert "router" in served.log.partition("configuration refused")[2]
    after = decided()
    assert (after["category"], after["revision"]) == (before["category"], before["revision"])
    assert served.stop() == 0


def test_requests_in_flight_end_where_they_began(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    with FakeUpstream(faults={"old": Fault.HANG}) as upstream:
        path.write_text(config(upstream, "old", "kept"))
        served = serve()
        httpx.post(
            f"{served.url}/v1/chat/completions", json={**BODY, "model": "kept"}, timeout=20, verify=False
        )
        late: list[httpx.Response] = []
        caller = threading.Thread(
            target=lambda: late.append(
                httpx.post(
                    f"{served.url}/v1/chat/completions",
                    json={**BODY, "model": "old"},
                    timeout=30,
                    verify=False,
                )
            )
        )
        caller.start()
        upstream.run(upstream.wait_served(2))
        path.write_text(config(upstream, "new", "kept"))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(served, "applied") == 1, served.log)
        assert answering(served) == "new"
        # What has not changed keeps its connections.
        before = upstream.connections
        httpx.post(
            f"{served.url}/v1/chat/completions", json={**BODY, "model": "kept"}, timeout=20, verify=False
        )
        assert upstream.connections == before
        upstream.release()
        caller.join(30)
        assert (late[0].status_code, late[0].headers["x-coe-expert"]) == (200, "old")
        # Two are left: of `new` and of `kept`.
        until(lambda: upstream.open_connections == 2, f"{upstream.open_connections} connections are open")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_operator_sees_the_difference_and_goes_back(serve: Serve, tmp_path: Path, workers: int) -> None:
    path = tmp_path / "coe.yaml"
    server = f"admin_key: {KEY}, workers: {workers}"
    with FakeUpstream() as upstream:
        path.write_text(config(upstream, "a", server=server))
        served = serve()

        def admin(method: str, what: str) -> tuple[int, dict[str, Any]]:
            told = httpx.request(
                method, f"{served.url}/admin/{what}", headers={"authorization": f"Bearer {KEY}"}, timeout=60
            )
            return told.status_code, told.json()

        assert httpx.get(f"{served.url}/admin/diff").json()["error"]["code"] == "invalid_api_key"
        assert httpx.post(f"{served.url}/admin/rollback").json()["error"]["code"] == "invalid_api_key"
        assert admin("POST", "rollback")[0] == 422
        for name, before in (("b", "a"), ("c", "b")):
            path.write_text(config(upstream, name, server=server))
            status, told = admin("GET", "diff")
            if answering(served) == before:  # the file has not been noticed yet
                changes = [f"experts.{before}: removed", f"experts.{name}: added"]
                assert (status, told["changes"]) == (200, changes)
            admin("POST", "reload")
            assert {answering(served) for _ in range(4)} == {name}
        path.write_text("experts: {")
        status, told = admin("GET", "diff")
        assert (status, "coe.yaml:1: not YAML" in told["errors"][0]) == (422, True)
        for name in ("b", "a"):
            status, told = admin("POST", "rollback")
            assert (status, f"experts.{name}: added" in told["changes"]) == (200, True)
            assert {answering(served) for _ in range(4)} == {name}
        status, told = admin("POST", "rollback")
        assert (status, told["errors"]) == (422, ["There is no earlier configuration to go back to."])
        assert answering(served) == "a"
    assert KEY not in served.log


def test_reload_over_http_needs_the_admin_key(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    with FakeUpstream() as upstream:
        path.write_text(config(upstream, "a"))
        served = serve()
        url = f"{served.url}/admin/reload"
        assert httpx.post(url, verify=False).status_code == 404
        path.write_text(config(upstream, "a", server=f"admin_key: {KEY}"))
        until(lambda: httpx.post(url, verify=False).status_code == 401, served.log)
        wrong: list[dict[str, Any]] = [{}, {"authorization": f"Bearer {KEY}x"}, {"authorization": KEY}]
        for headers in wrong:
            assert httpx.post(url, headers=headers, verify=False).json()["error"]["code"] == "invalid_api_key"
        headers = {"authorization": f"Bearer {KEY}"}
        path.write_text(config(upstream, "a", server=f"admin_key: {KEY}, port: 1"))
        applied = httpx.post(url, headers=headers, verify=False)
        assert applied.status_code == 200
        assert applied.json()["changes"] == []  # the port of the command line stands above it
        path.write_text("experts: {")
        refused = httpx.post(url, headers=headers, verify=False)
        assert refused.status_code == 422
        assert "coe.yaml:1: not YAML" in refused.json()["errors"][0]
        assert answering(served) == "a"
    assert KEY not in served.log
