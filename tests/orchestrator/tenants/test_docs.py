"""docs/tenants.md says what is so."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from coe.config import loads
from coe.gateway._tenant_metrics import tenant_metrics
from coe.tenants import ASSUMED_COMPLETION_TOKENS, Counters, TenantStats
from coe.tenants._shared import SharedStats

TEXT = (Path(__file__).parents[3] / "docs" / "tenants.md").read_text()
POOL = "experts: {gpt: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n"
EVERYTHING = (
    "requests_per_minute: 9, tokens_per_minute: 9000, budget_usd: {amount: 50, per: day}, "
    "strong_share: {experts: [big], max_share: 0.5, window: 10}"
)


def test_the_example_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    policies = loads(POOL + block, {}).tenants.policies
    assert set(policies) == {"default", "acme"}


def test_the_assumed_completion_is_the_documented_one() -> None:
    assert f"({ASSUMED_COMPLETION_TOKENS} where the request names none)" in TEXT


def test_every_metric_is_documented() -> None:
    class All(Collector):
        def collect(self) -> Any:
            return tenant_metrics(TenantStats({"default": Counters()}, shared=SharedStats()))

    registry = CollectorRegistry()
    registry.register(All())
    names = set(re.findall(r"^# TYPE (\w+) counter", generate_latest(registry).decode(), re.MULTILINE))
    assert names == set(re.findall(r"`(coe_\w+_total)`", TEXT))


def test_the_documented_rights_suffice_in_redis(redis_server: Any, open_shop: Any) -> None:
    (rights, keys) = re.findall(r"a Redis user needs\s+`(.*?)` on `(.*?)`", TEXT)[0]
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "limits", "on", ">pass-word", keys, *rights.split())
    url = redis_server.url.replace("redis://", "redis://limits:pass-word@")
    experts = (
        "experts: {big: {kind: echo, card: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}}\n"
        "routers: {auto: {kind: first}}\n"
    )

    async def scenario() -> None:
        shop = open_shop(experts + f"\ntenants:\n  policies: {{acme: {{{EVERYTHING}}}}}\n", redis=url)
        await shop.tenants.start()
        await shop.answers(3)
        await shop.aclose()
        stats = shop.tenants.stats().shared
        assert (stats.errors, stats.skipped, stats.timeouts) == (0, 0, 0)
        # Three requests: each enters, reserves and settles.
        assert stats.answered == 9

    asyncio.run(scenario())
