"""What tenants count, for Prometheus. Labels are names of policies: as many as are configured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from coe.tenants import TenantStats

_COUNTERS = {
    "requests": "Requests with a valid key.",
    "rate_limited": "Requests refused by limits per minute.",
    "budget_exceeded": "Requests refused for want of money or of the share of strong experts.",
    "estimated": "Answers whose tokens were estimated: the expert reported none.",
    "stepped_down": "Requests for which an expert was left out, for the same want.",
}


def tenant_metrics(stats: TenantStats) -> Iterable[Metric]:
    """Counters by policy, and of keys and of the limits in Redis."""
    for name, text in _COUNTERS.items():
        counter = CounterMetricFamily(f"coe_tenant_{name}", text, labels=["policy"])
        for policy, counted in stats.policies.items():
            counter.add_metric([policy], getattr(counted, name))
        yield counter
    tokens = CounterMetricFamily("coe_tenant_tokens", "Tokens of answers.", labels=["policy", "kind"])
    spent = CounterMetricFamily("coe_tenant_spent_usd", "What answers cost.", labels=["policy"])
    for policy, counted in stats.policies.items():
        tokens.add_metric([policy, "prompt"], counted.prompt_tokens)
        tokens.add_metric([policy, "completion"], counted.completion_tokens)
        spent.add_metric([policy], counted.spent_nano / 1e9)
    yield from (tokens, spent)
    yield CounterMetricFamily("coe_refused_keys", "Requests without a valid key.", value=stats.refused_keys)
    yield CounterMetricFamily(
        "coe_keys_reload_failures",
        "Times the keys file could not be read again.",
        value=stats.key_reload_failures,
    )
    if stats.shared is not None:
        events = CounterMetricFamily(
            "coe_shared_limits_events", "Calls to the limits in Redis.", labels=["event"]
        )
        for event, count in asdict(stats.shared).items():
            events.add_metric([event], count)
        yield events
