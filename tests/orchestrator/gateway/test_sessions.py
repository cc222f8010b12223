"""Sessions over HTTP: who stays with whom, and why one leaves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from coe.journal import Reader

if TYPE_CHECKING:
    from conftest import Running, Start

CODE = "Write a Python function that reverses a list."
SUM = "What is the integral of x^2 from 0 to 3?"
POOL = """
experts:
  coder: {kind: echo, card: {domains: [coding], context_window: 200, capabilities: [chat, stream]}}
  counter: {kind: echo, card: {domains: [math, general]}}
routers: {auto: {kind: two-step}}
"""


def ask(gateway: Running, *contents: str, session: str | None = None, **more: Any) -> httpx.Response:
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": content}
        for number, content in enumerate(contents)
    ]
    headers = {} if session is None else {"x-coe-session": session}
    body = {"model": "auto", "messages": messages, **more}
    return gateway.client.post("/v1/chat/completions", json=body, headers=headers)


def test_a_conversation_stays_where_it_began(start: Start) -> None:
    gateway = start(POOL + "sessions: {fingerprint: true}\n")
    began = ask(gateway, CODE)
    assert (began.json()["model"], began.json()["coe"]["reason"]) == ("coder", "category")
    goes_on = ask(gateway, CODE, "def …", SUM)
    assert (goes_on.json()["model"], goes_on.json()["coe"]["reason"]) == ("coder", "session")
    assert ask(gateway, SUM).json()["model"] == "counter"
    assert ask(gateway, SUM, "9", CODE).json()["model"] == "counter"


def test_without_fingerprints_only_named_sessions_stay(start: Start) -> None:
    gateway = start(POOL)
    assert ask(gateway, CODE).json()["model"] == "coder"
    assert ask(gateway, CODE, "def …", SUM).json()["model"] == "counter"
    assert ask(gateway, CODE, session="s").json()["model"] == "coder"
    assert ask(gateway, SUM, session="s").json()["coe"]["reason"] == "session"


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("failing", {}),
        ("incapable", {"response_format": {"type": "json_object"}}),
        ("context_window", {"max_tokens": 500}),
    ],
)
def test_a_session_leaves_for_a_stated_reason_only(
    start: Start, tmp_path: Path, why: str, body: dict[str, Any]
) -> None:
    gateway = start(POOL + f"journal: {{dir: {tmp_path}}}\n")
    assert "x-coe-session-switch" not in ask(gateway, CODE, session="s").headers
    if why == "failing":
        for _ in range(5):
            gateway.engine.pool.failed("coder")
    left = ask(gateway, CODE, session="s", **body)
    assert (left.headers["x-coe-expert"], left.headers["x-coe-session-switch"]) == ("counter", why)
    assert left.json()["coe"]["session_switch"] == {"from": "coder", "why": why}
    gateway.engine.pool.succeeded("coder")
    stays = ask(gateway, CODE, session="s")
    assert (stays.json()["model"], stays.json()["coe"]["reason"]) == ("counter", "session")
    assert f'coe_session_switches_total{{why="{why}"}} 1.0' in gateway.client.get("/metrics").text
    gateway.gateway.serving.journal.close()  # type: ignore[union-attr]
    switches = [record.session_switch for record in Reader(tmp_path).records()]
    assert switches == [None, why, None]


@pytest.mark.parametrize("decisions", ["true", "false"])
def test_replicas_share_sessions(start: Start, redis_url: str, decisions: str) -> None:
    """Whether they share decisions or not."""
    shared = f"{{kind: redis, url: '{redis_url}', timeout_ms: 5000}}"
    cache = f"cache: {{enabled: {decisions}, shared: {shared}}}\n"
    one, two = start(POOL + cache), start(POOL + cache)
    session = f"s-{time.time_ns()}"
    assert ask(one, CODE, session=session).json()["model"] == "coder"
    deadline = time.monotonic() + 10
    while ask(two, SUM, session=session).json()["model"] != "coder":  # it is written a moment later
        assert time.monotonic() < deadline
        session = f"s-{time.time_ns()}"
        ask(one, CODE, session=session)
        time.sleep(0.05)
    outcome = ask(one, CODE).headers["x-coe-cache"], ask(one, CODE).headers["x-coe-cache"]
    assert outcome == (("off", "off") if decisions == "false" else ("hit", "hit"))
