"""From configurations to tenants, and from one configuration to the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coe.config import InvalidConfig, loads
from coe.engine import extract_features
from coe.errors import ConfigError, RateLimited
from coe.gateway import refuse_open
from coe.tenants import open_tenants
from coe.tenants._open import redis_url
from coe.testing import Clock, chat

BASE = "experts: {a: {kind: echo}, b: {kind: echo}}\nrouters: {auto: {kind: first}}\n"
SHARED = "cache: {shared: {kind: redis, url: 'redis://cache:1'}}\n"


def test_without_keys_and_policies_there_is_nothing_to_check() -> None:
    assert open_tenants(loads(BASE, {}), Clock(), Clock(), "r") is None


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ("", None),
        (SHARED, "redis://cache:1"),
        (SHARED + "tenants: {redis: 'redis://limits:2'}\n", "redis://limits:2"),
        ("cache: {shared: {kind: other, url: 'redis://cache:1'}}\n", None),
    ],
)
def test_limits_are_shared_where_decisions_are_or_where_it_says(more: str, url: str | None) -> None:
    assert redis_url(loads(BASE + more, {})) == url


def test_redis_is_used_only_where_something_is_limited() -> None:
    for policy, shared in (("{models: [auto]}", False), ("{requests_per_minute: 1}", True)):
        config = loads(BASE + SHARED + f"tenants: {{policies: {{acme: {policy}}}}}\n", {})
        tenants = open_tenants(config, Clock(), Clock(), "r")
        assert tenants is not None
        assert (tenants.stats().shared is not None) == shared


def test_a_missing_keys_file_is_refused(tmp_path: Path) -> None:
    config = loads(BASE + "tenants: {keys_file: keys.json}\n", {}, base_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"keys\.json does not exist"):
        open_tenants(config, Clock(), Clock(), "r")


def test_what_was_used_still_counts_after_a_reload() -> None:
    async def scenario() -> None:
        clock, request = Clock(), chat("x")
        features = extract_features(request.body)

        def config(limit: int) -> str:
            return BASE + f"tenants: {{policies: {{acme: {{requests_per_minute: {limit}}}}}}}\n"

        before = open_tenants(loads(config(4), {}), clock, Clock(), "r")
        assert before is not None
        for _ in range(4):
            guard = before.guard("acme")
            assert guard is not None
            await guard.enter(request.body, features)
        after = open_tenants(loads(config(8), {}), clock, Clock(), "r", before)
        assert after is not None
        guard = after.guard("acme")
        assert guard is not None
        with pytest.raises(RateLimited, match="8 requests a minute"):
            await guard.enter(request.body, features)
        assert after.stats().policies["acme"].requests == 5

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("{models: [aut]}", "tenants.policies.acme.models: `aut` is neither a router nor an expert."),
        ("{experts: [c]}", "tenants.policies.acme.experts: no expert is called `c`."),
        (
            "{strong_share: {experts: [c], max_share: 0.5}}",
            "tenants.policies.acme.strong_share.experts[0]: no expert is called `c`.",
        ),
        (
            "{strong_share: {experts: [a], max_share: 0.05, window: 19}}",
            "tenants.policies.acme.strong_share.window: too short for a share of 0.05: at least 20.",
        ),
        ("{budget_usd: {amount: 5}}", "tenants.policies.acme.budget_usd: `per` is required."),
        ("{requests_per_minute: 0}", "tenants.policies.acme.requests_per_minute: must be greater than 0."),
        ("{step-down: true}", "tenants.policies.acme.step-down: unknown key. Did you mean `step_down`?"),
    ],
)
def test_wrong_policies_are_explained(policy: str, problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        loads(BASE + f"tenants: {{policies: {{acme: {policy}}}}}\n", {})
    assert problem in str(caught.value)


def test_the_url_of_redis_is_not_shown() -> None:
    config = loads(BASE + "tenants: {redis: 'redis://:hunter2-hunter2@x', policies: {acme: {}}}\n", {})
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_may_ask_without_keys(host: str) -> None:
    refuse_open(loads(BASE + f"server: {{host: '{host}'}}\n", {}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "::ffff:10.0.0.1", "example.org", ""])
def test_other_machines_need_keys_unless_it_is_meant(host: str) -> None:
    server = f"server: {{host: '{host}'"
    with pytest.raises(ConfigError, match=r"coe keys create.*--allow-open"):
        refuse_open(loads(BASE + server + "}\n", {}))
    refuse_open(loads(BASE + server + ", allow_open: true}\n", {}))
    refuse_open(loads(BASE + server + "}\ntenants: {keys_file: keys.json}\n", {}))
