"""Prometheus metrics. Names and labels are stable: dashboards depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from coe.cache import StoreStats
from coe.contracts import DecisionCache
from coe.engine import Attempt, Routed
from coe.gateway._counts import Counts, Spread
from coe.gateway._tenant_metrics import tenant_metrics
from coe.wire import Usage

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from coe.engine import Engine
    from coe.journal import Journal, JournalStats
    from coe.tenants import Tenants

_ROUTE_BUCKETS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2)
_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counts what the engine and the gateway tell it. One per gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("coe_requests", "Requests answered.", "path", "status")
        self._seconds = self._histogram(
            "coe_request_seconds", "Time to the end of the answer.", "path", _SECONDS_BUCKETS
        )
        self._decisions = self._counter(
            "coe_decisions", "Decisions made.", "model", "category", "expert", "reason", "cache"
        )
        self._route_seconds = self._histogram(
            "coe_route_seconds", "Time to decide, cache included.", "cache", _ROUTE_BUCKETS
        )
        self._overhead = self._histogram(
            "coe_overhead_seconds",
            "Time to the first byte of an answer, without that of the experts.",
            "answer",
            _ROUTE_BUCKETS,
        )
        self._attempts = self._counter("coe_expert_attempts", "Experts asked.", "expert", "outcome")
        self._first_byte = self._histogram(
            "coe_expert_first_byte_seconds",
            "Time until an expert began to answer.",
            "expert",
            _SECONDS_BUCKETS,
        )
        self._stream_failures = self._counter(
            "coe_stream_failures", "Streams that failed after their first byte.", "expert", "code"
        )
        self._router_failures = self._counter("coe_router_failures", "Routers that failed.", "model", "why")
        self._tokens = self._counter("coe_tokens", "Tokens reported by experts.", "expert", "kind")
        self._reloads = self._counter("coe_config_reloads", "Configurations read while serving.", "outcome")
        self._switches = self._counter("coe_session_switches", "Sessions that left their expert.", "why")
        self._live: _LiveState | None = None
        self._disconnects = self._counter("coe_client_disconnects", "Callers that went away early.")

    def watch(self, engine: Engine, journal: Journal | None = None, tenants: Tenants | None = None) -> None:
        """Report the live state of this engine's pool and cache, of journal and tenants, at each scrape.

        Of no others from then on.
        """
        if self._live is None:
            self._live = _LiveState(engine)
            self.registry.register(self._live)
        self._live.engine = engine
        self._live.journal = journal
        self._live.tenants = tenants

    def reloaded(self, outcome: str) -> None:
        """Another configuration was read: `applied`, or `refused`."""
        self._reloads.by[(outcome,)] += 1

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counts:
        counts = Counts(name, text, labels)
        self.registry.register(counts)
        return counts

    def _histogram(self, name: str, text: str, label: str, bounds: Sequence[float]) -> Spread:
        spread = Spread(name, text, label, bounds)
        self.registry.register(spread)
        return spread

    # --- told by the engine ---

    def routed(self, routed: Routed) -> None:
        """A decision was made."""
        decision = routed.decision
        self._decisions.by[
            routed.model, decision.category, decision.expert, decision.reason, routed.cache
        ] += 1
        self._route_seconds.observe(routed.cache, routed.route_us / 1e6)
        if routed.switch is not None:
            self._switches.by[(routed.switch.why,)] += 1

    def attempted(self, attempt: Attempt) -> None:
        """An expert was asked."""
        self._attempts.by[attempt.expert, attempt.error or "ok"] += 1
        if not attempt.error:
            self._first_byte.observe(attempt.expert, attempt.seconds)

    def router_failed(self, router: str, why: str) -> None:
        """A router failed."""
        self._router_failures.by[router, why] += 1

    def stream_failed(self, expert: str, code: str) -> None:
        """An expert failed after its first byte."""
        self._stream_failures.by[expert, code] += 1

    # --- told by the gateway ---

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request was answered to its end."""
        self._requests.by[path, str(status)] += 1
        self._seconds.observe(path, seconds)

    def overhead(self, seconds: float, *, streamed: bool) -> None:
        """Time of our own until an answer began: all but that in which experts were asked."""
        self._overhead.observe("stream" if streamed else "whole", seconds)

    def used(self, expert: str, usage: Usage | None) -> None:
        """Tokens of one answer, as the expert reported them."""
        if usage is not None:
            self._tokens.by[expert, "prompt"] += usage.prompt_tokens
            self._tokens.by[expert, "completion"] += usage.completion_tokens

    def disconnected(self) -> None:
        """A caller went away."""
        self._disconnects.by[()] += 1


class _LiveState(Collector):
    """State that is read at scrape time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.journal: Journal | None = None
        self.tenants: Tenants | None = None

    def collect(self) -> Iterable[Metric]:
        in_flight = GaugeMetricFamily("coe_expert_in_flight", "Requests being answered.", labels=["expert"])
        healthy = GaugeMetricFamily("coe_expert_healthy", "0 while it is left alone.", labels=["expert"])
        awake = GaugeMetricFamily("coe_expert_awake", "1 when it can answer at once.", labels=["expert"])
        members = self.engine.pool.members
        view = self.engine.pool.view(tuple(members))
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
        yield from _limits(self.engine)
        if self.engine.store is not None:
            stats = self.engine.store.stats()
            lookups = CounterMetricFamily(
                "coe_decision_cache_lookups", "Decisions by where they came from.", labels=["source"]
            )
            for source in ("memory", "shared", "computed"):
                lookups.add_metric([source], getattr(stats, source))
            yield lookups
            yield GaugeMetricFamily("coe_decision_cache_entries", "Decisions in memory.", value=stats.entries)
            if self.engine.store.shared is not None:
                yield from _shared_cache(self.engine.store.shared, stats)
        if self.journal is not None:
            yield from _journal(self.journal.stats())
        if self.tenants is not None:
            yield from tenant_metrics(self.tenants.stats())


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
