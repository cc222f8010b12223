"""The endpoints around chat completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Running, Start

CONFIG = """
experts:
  a: {kind: echo, card: {domains: [math], params_b: 7, input_usd_per_mtok: 0.1, description: Counts.}}
  b: {kind: echo, routable: false}
routers:
  auto: {kind: first}
  only-b: {kind: first, experts: [b]}
"""


@pytest.fixture
def gateway(start: Start) -> Running:
    return start(CONFIG)


def test_models_lists_virtual_models_then_experts(gateway: Running) -> None:
    rows = gateway.client.get("/v1/models").json()["data"]
    assert [row["id"] for row in rows] == ["auto", "only-b", "a", "b"]
    assert all(row["object"] == "model" for row in rows)
    assert rows[0]["coe"] == {"kind": "virtual"}
    assert rows[2]["coe"]["params_b"] == 7
    assert rows[2]["coe"]["description"] == "Counts."
    assert "active_params_b" not in rows[2]["coe"]


def test_each_router_is_a_model_of_its_own(gateway: Running) -> None:
    assert gateway.chat("x").headers["x-coe-expert"] == "a"
    assert gateway.chat("x", model="only-b").headers["x-coe-expert"] == "b"


def test_route_decides_and_calls_nobody(start: Start) -> None:
    with FakeUpstream() as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        by_prompt = gateway.client.post("/v1/route", json={"model": "auto", "prompt": "hi"}).json()
        messages = [{"role": "user", "content": "hi"}]
        by_messages = gateway.client.post("/v1/route", json={"model": "auto", "messages": messages}).json()
        assert upstream.served == 0
    for volatile in ("id", "route_us", "cache"):
        by_prompt.pop(volatile)
        by_messages.pop(volatile)
    assert by_prompt == by_messages
    assert by_prompt["object"] == "route"
    assert (by_prompt["expert"], by_prompt["model"]) == ("a", "auto")
    assert by_prompt["ranked"] == [{"expert": "a", "score": None}]


def test_route_checks_its_body(gateway: Running) -> None:
    response = gateway.client.post("/v1/route", json={"prompt": "hi"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/v1/models", 405), ("GET", "/v1/chat/completions", 405)],
)
def test_what_is_not_there_gets_an_envelope(gateway: Running, method: str, path: str, status: int) -> None:
    response = gateway.client.request(method, path)
    assert response.status_code == status
    assert path in response.json()["error"]["message"]
    assert ("allow" in response.headers) == (status == 405)


def test_health_follows_the_pool(gateway: Running) -> None:
    assert gateway.client.get("/health/live").json() == {"status": "live"}
    assert gateway.client.get("/health/ready").status_code == 200
    for _ in range(5):
        gateway.engine.pool.failed("a")
    assert gateway.client.get("/health/ready").status_code == 503
    gateway.engine.pool.succeeded("a")
    gateway.gateway.drain()
    response = gateway.client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "draining")
    assert response.json()["experts"] == {"a": {"healthy": True, "awake": True}}
    assert gateway.client.get("/health/live").status_code == 200


def test_metrics_count_decisions_attempts_and_tokens(gateway: Running) -> None:
    gateway.chat("one two")
    gateway.chat("one two")
    text = gateway.client.get("/metrics").text
    for line in (
        'coe_decisions_total{cache="miss",category="general",expert="a",model="auto",reason="category"} 1.0',
        'coe_decisions_total{cache="hit",category="general",expert="a",model="auto",reason="category"} 1.0',
        'coe_expert_attempts_total{expert="a",outcome="ok"} 2.0',
        'coe_tokens_total{expert="a",kind="prompt"} 4.0',
        'coe_requests_total{path="/v1/chat/completions",status="200"} 2.0',
        'coe_decision_cache_lookups_total{source="memory"} 1.0',
        'coe_expert_healthy{expert="a"} 1.0',
        'coe_route_seconds_count{cache="hit"} 1.0',
    ):
        assert line in text


def test_metrics_never_grow_with_what_callers_send(gateway: Running) -> None:
    before = gateway.client.get("/metrics").text.count("\n")
    for number in range(20):
        gateway.chat("x", model=f"made-up-{number}")
        gateway.client.get(f"/made-up/{number}")
    after = gateway.client.get("/metrics").text
    assert "made-up" not in after
    assert after.count("\n") < before + 80


def test_a_stream_failure_is_counted(start: Start) -> None:
    with FakeUpstream(Fault.TRUNCATED) as upstream:
        gateway = start(
            f"experts: {{a: {{kind: openai, base_url: '{upstream.base_url}', model: a}}}}\n"
            "routers: {auto: {kind: first}}\n"
        )
        gateway.chat("some words", stream=True)
        text = gateway.client.get("/metrics").text
    assert 'coe_stream_failures_total{code="expert_unavailable",expert="a"} 1.0' in text
