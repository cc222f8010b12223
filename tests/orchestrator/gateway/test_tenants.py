"""Keys, limits and budgets over HTTP."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from coe.tenants import change_keys, new_key
from coe.testing import FakeUpstream

if TYPE_CHECKING:
    from conftest import Running, Start

EXPERTS = """
experts:
  big: {kind: echo, card: {input_usd_per_mtok: 1000000, output_usd_per_mtok: 1000000}}
  small: {kind: echo, card: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}}
routers: {auto: {kind: first}, only-big: {kind: first, experts: [big]}}
"""

Issue = Callable[[str], str]


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def issue(keys_file: Path) -> Issue:
    """Make a key for a tenant."""

    def make(tenant: str) -> str:
        key, text = new_key(tenant, secrets.token_bytes, time.time())
        change_keys(keys_file, lambda keys: (*keys, key))
        return text

    return make


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def ask(gateway: Running, key: str, content: str = "hello", **more: str) -> httpx.Response:
    body = {"model": "auto", "messages": [{"role": "user", "content": content}]}
    body |= {name: value for name, value in more.items() if name == "model"}
    headers = {**bearer(key), **{name: value for name, value in more.items() if name != "model"}}
    return gateway.client.post("/v1/chat/completions", json=body, headers=headers)


# --- keys


def test_without_keys_and_policies_everybody_may_ask(start: Start) -> None:
    gateway = start(EXPERTS)
    answered = ask(gateway, "sk-whatever")
    assert answered.status_code == 200
    assert not [name for name in answered.headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize(
    "method_path", [("POST", "/v1/chat/completions"), ("POST", "/v1/route"), ("GET", "/v1/models")]
)
def test_a_key_is_wanted(start: Start, keys_file: Path, issue: Issue, method_path: tuple[str, str]) -> None:
    key = issue("acme")
    gateway = start(EXPERTS + f"tenants: {{keys_file: {keys_file}}}\n")
    method, path = method_path
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]} if method == "POST" else None
    wrong = [{}, bearer("sk-1"), bearer(key[:-1] + "!"), {"authorization": key}, {"x-api-key": key[1:]}]
    for headers in wrong:
        refused = gateway.client.request(method, path, json=body, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        error = refused.json()["error"]
        assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error")
    for headers in (bearer(key), {"Authorization": f"bearer  {key}"}, {"x-api-key": key}):
        assert gateway.client.request(method, path, json=body, headers=headers).status_code == 200


def test_health_and_metrics_want_no_key(start: Start, keys_file: Path, issue: Issue) -> None:
    issue("acme")
    gateway = start(EXPERTS + f"tenants: {{keys_file: {keys_file}}}\n")
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert gateway.client.get(path).status_code == 200


def test_who_has_no_key_sends_no_body(start: Start, keys_file: Path, issue: Issue) -> None:
    issue("acme")
    gateway = start(EXPERTS + f"server: {{max_body_mb: 0.001}}\ntenants: {{keys_file: {keys_file}}}\n")
    body = b"x" * 100_000
    assert gateway.client.post("/v1/chat/completions", content=body).status_code == 401


def test_the_callers_key_never_reaches_an_expert_nor_the_log(
    start: Start, keys_file: Path, issue: Issue, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    key = issue("acme")
    gateway = start(
        "experts:\n"
        f"  a: {{kind: openai, base_url: '{upstream.base_url}', model: a, api_key: upstream-key}}\n"
        f"routers: {{auto: {{kind: first}}}}\ntenants: {{keys_file: {keys_file}}}\n"
    )
    with caplog.at_level(logging.DEBUG, logger="coe"):
        assert ask(gateway, key).status_code == 200
        extra = {**bearer(key), "x-api-key": key, "cookie": key}
        body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "stream": True}
        assert gateway.client.post("/v1/chat/completions", json=body, headers=extra).status_code == 200
        assert ask(gateway, key + "x").status_code == 401
    assert len(upstream.received) == 2
    for request in upstream.received:
        assert request.header("authorization") == "Bearer upstream-key"
        assert key not in repr(request)
    assert key not in caplog.text
    assert key not in gateway.client.get("/metrics").text


# --- one tenant is nothing to another


def test_a_tenant_never_sees_anothers_cached_decision(start: Start, keys_file: Path, issue: Issue) -> None:
    one, two = issue("one"), issue("two")
    gateway = start(EXPERTS + f"tenants: {{keys_file: {keys_file}}}\n")
    told = [ask(gateway, key).headers["x-coe-cache"] for key in (one, one, two, two, one)]
    assert told == ["miss", "hit", "miss", "hit", "hit"]


def test_a_tenant_never_sees_anothers_session(start: Start, keys_file: Path, issue: Issue) -> None:
    one, two = issue("one"), issue("two")
    gateway = start(
        "experts:\n  coder: {kind: echo, card: {domains: [coding]}}\n"
        "  counter: {kind: echo, card: {domains: [math, general]}}\nrouters: {auto: {kind: two-step}}\n"
        f"tenants: {{keys_file: {keys_file}}}\n"
    )
    session = {"x-coe-session": "s"}
    code, sum_ = "Write a Python function that reverses a list.", "What is the integral of x^2 from 0 to 3?"
    assert ask(gateway, one, code, **session).headers["x-coe-expert"] == "coder"
    assert ask(gateway, one, sum_, **session).headers["x-coe-expert"] == "coder"
    assert ask(gateway, two, sum_, **session).headers["x-coe-expert"] == "counter"


def test_models_are_those_that_the_tenant_may_ask_for(start: Start, keys_file: Path, issue: Issue) -> None:
    one, two = issue("one"), issue("two")
    policies = "policies: {one: {experts: [small]}, two: {models: [only-big]}}"
    gateway = start(EXPERTS + f"tenants: {{keys_file: {keys_file}, {policies}}}\n")

    def models(key: str) -> list[str]:
        return [row["id"] for row in gateway.client.get("/v1/models", headers=bearer(key)).json()["data"]]

    assert models(one) == ["auto", "only-big", "small"]
    assert models(two) == ["only-big"]
    assert ask(gateway, one, model="big").json()["error"]["code"] == "model_not_found"
    assert ask(gateway, one).headers["x-coe-expert"] == "small"
    assert ask(gateway, two, model="only-big").headers["x-coe-expert"] == "big"


# --- limits


def test_limits_are_told_as_openai_tells_them(start: Start) -> None:
    policy = "requests_per_minute: 2, tokens_per_minute: 6000"
    gateway = start(EXPERTS + f"tenants: {{policies: {{default: {{{policy}}}}}}}\n")
    first = gateway.chat("x" * 400)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] in ("29s", "30s")
    assert first.headers["x-ratelimit-limit-tokens"] == "6000"
    assert first.headers["x-ratelimit-remaining-tokens"] == "5900"
    gateway.chat()
    refused = gateway.chat()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_two_gateways_share_limits(start: Start, redis_url: str) -> None:
    tenant = f"gateways-{time.time_ns()}"
    limits = "{default: {requests_per_minute: 4}}"
    text = EXPERTS + f"tenants: {{redis: '{redis_url}', timeout_ms: 5000, policies: {limits}}}\n"
    one, two = start(text), start(text)
    for gateway in (one, two):
        tenants = gateway.gateway.serving.tenants
        assert tenants is not None
        tenants.tenant_of = lambda key: tenant  # a tenant that no other test has
    told = [gateway.chat().status_code for gateway in (one, two, one, two, one, two)]
    assert told == [200, 200, 200, 200, 429, 429]


def test_a_budget_that_is_spent_is_told_once_and_not_retried(start: Start) -> None:
    policy = "budget_usd: {amount: 10, per: month}, models: [only-big]"
    gateway = start(EXPERTS + f"tenants: {{policies: {{default: {{{policy}}}}}}}\n")
    client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=3)
    with client:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="only-big", messages=[{"role": "user", "content": "hello"}])
        assert caught.value.code == "budget_exceeded"
        assert caught.value.type == "insufficient_quota"
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert "retry-after" not in caught.value.response.headers
        answered = client.chat.completions.create(
            model="only-big", messages=[{"role": "user", "content": "four"}], max_tokens=5
        )
    assert answered.model == "big"
    metrics = gateway.client.get("/metrics").text
    assert 'coe_tenant_budget_exceeded_total{policy="default"} 1.0' in metrics
    assert 'coe_tenant_requests_total{policy="default"} 2.0' in metrics
    assert 'coe_tenant_tokens_total{kind="completion",policy="default"} 1.0' in metrics
    assert 'coe_tenant_spent_usd_total{policy="default"} 2.0' in metrics


def test_labels_are_policies_and_not_tenants(start: Start, keys_file: Path, issue: Issue) -> None:
    keys = [issue(f"tenant-{number}") for number in range(5)]
    gateway = start(
        EXPERTS + f"tenants: {{keys_file: {keys_file}, policies: {{default: {{}}, tenant-1: {{}}}}}}\n"
    )
    for key in keys:
        ask(gateway, key)
    ask(gateway, "wrong")
    metrics = gateway.client.get("/metrics").text
    assert 'coe_tenant_requests_total{policy="default"} 4.0' in metrics
    assert 'coe_tenant_requests_total{policy="tenant-1"} 1.0' in metrics
    assert "tenant-2" not in metrics
    assert "coe_refused_keys_total 1.0" in metrics


def test_asking_for_a_decision_counts_as_a_request(start: Start) -> None:
    gateway = start(EXPERTS + "tenants: {policies: {default: {requests_per_minute: 1}}}\n")
    told = [gateway.client.post("/v1/route", json={"model": "auto", "prompt": "x"}) for _ in range(2)]
    assert [each.status_code for each in told] == [200, 429]
    assert told[0].headers["x-ratelimit-remaining-requests"] == "0"
