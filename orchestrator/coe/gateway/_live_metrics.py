"""State that is read at each scrape, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from coe.cache import StoreStats
from coe.contracts import DecisionCache
from coe.gateway._tenant_metrics import tenant_metrics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from coe.engine import Engine
    from coe.journal import Journal, JournalStats
    from coe.tenants import Tenants


def live_metrics(engine: Engine, journal: Journal | None, tenants: Tenants | None) -> Iterable[Metric]:
    """Of the pool and the decision cache, of journal and tenants where there are any."""
    in_flight = GaugeMetricFamily("coe_expert_in_flight", "Requests being answered.", labels=["expert"])
    healthy = GaugeMetricFamily("coe_expert_healthy", "0 while it is left alone.", labels=["expert"])
    awake = GaugeMetricFamily("coe_expert_awake", "1 when it can answer at once.", labels=["expert"])
    members = engine.pool.members
    view = engine.pool.view(tuple(members))
    for name, member in members.items():
        in_flight.add_metric([name], member.in_flight)
        healthy.add_metric([name], view.experts[name].healthy)
        awake.add_metric([name], member.awake)
    yield from (in_flight, healthy, awake)
    probes = CounterMetricFamily(
        "coe_expert_probes", "Looks at experts, by how they went.", labels=["expert", "outcome"]
    )
    for name, member in members.items():
        if member.probe is not None:
            probes.add_metric([name, "ok"], member.probe.passes)
            probes.add_metric([name, "failed"], member.probe.failures)
    yield probes
    yield from _limits(engine)
    yield from _sparse_layers(engine)
    if engine.store is not None:
        stats = engine.store.stats()
        lookups = CounterMetricFamily(
            "coe_decision_cache_lookups", "Decisions by where they came from.", labels=["source"]
        )
        for source in ("memory", "shared", "computed"):
            lookups.add_metric([source], getattr(stats, source))
        yield lookups
        yield GaugeMetricFamily("coe_decision_cache_entries", "Decisions in memory.", value=stats.entries)
        if engine.store.shared is not None:
            yield from _shared_cache(engine.store.shared, stats)
    if journal is not None:
        yield from _journal(journal.stats())
    if tenants is not None:
        yield from tenant_metrics(tenants.stats())


def _limits(engine: Engine) -> Iterable[Metric]:
    """What waits, and what was not tried again."""
    queued = GaugeMetricFamily("coe_expert_queued", "Requests that wait for a place.", labels=["expert"])
    for name, member in engine.pool.members.items():
        if member.gate is not None:
            queued.add_metric([name], member.gate.waiting)
    yield queued
    if engine.retries is not None:
        text = "Fallbacks that there was no budget for."
        yield CounterMetricFamily("coe_retries_denied", text, value=engine.retries.denied)


def _sparse_layers(engine: Engine) -> Iterable[Metric]:
    """Calls, tokens and the layer's own experts (`part`) of the mixtures within experts that tell of them."""
    here = ["expert", "layer"]
    calls = CounterMetricFamily("coe_expert_layer_calls", "Sparse layers' calls.", labels=[*here, "kernel"])
    tokens = CounterMetricFamily("coe_expert_layer_tokens", "Tokens in sparse layers' calls.", labels=here)
    uses = CounterMetricFamily(
        "coe_expert_layer_uses", "Tokens by part of the mixture.", labels=[*here, "part"]
    )
    for name, member in engine.pool.members.items():
        for layer in member.sparse_layers:
            calls.add_metric([name, layer.name, layer.kernel], layer.calls)
            tokens.add_metric([name, layer.name], layer.tokens)
            for part, count in enumerate(layer.uses):
                uses.add_metric([name, layer.name, str(part)], count)
    yield from (each for each in (calls, tokens, uses) if each.samples)


def _journal(stats: JournalStats) -> Iterable[Metric]:
    """What the journal counts of itself."""
    counts = {
        "records": ("Requests taken into the journal.", stats.records),
        "dropped": ("Records lost: the disk was full or did not keep up.", stats.dropped),
        "bytes": ("Bytes written to the journal.", stats.written_bytes),
        "errors": ("Failures to write, convert or encode.", stats.errors),
    }
    for name, (text, count) in counts.items():
        yield CounterMetricFamily(f"coe_journal_{name}", text, value=count)
    yield GaugeMetricFamily("coe_journal_queued_bytes", "Records that wait.", value=stats.queued_bytes)


def _shared_cache(shared: DecisionCache, stats: StoreStats) -> Iterable[Metric]:
    """What the shared cache counts of itself, where it does, and what became of its decisions."""
    events = {"refused": stats.refused, "failures": stats.failures}
    if isinstance(shared, _Counting):
        counted = asdict(shared.stats())
        breaker = counted.pop("breaker", None)
        if breaker is not None:
            text = "1 while the shared cache is left alone."
            yield GaugeMetricFamily("coe_shared_cache_breaker_open", text, value=breaker != "closed")
        events |= counted
    counter = CounterMetricFamily("coe_shared_cache_events", "What the shared cache did.", labels=["event"])
    for event, count in events.items():
        counter.add_metric([event], count)
    yield counter


@runtime_checkable
class _Counting(Protocol):
    """A shared cache with counters of its own: a dataclass of numbers, and perhaps `breaker`."""

    def stats(self) -> Any: ...
