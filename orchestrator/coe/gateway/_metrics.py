"""Prometheus metrics. Names and labels are stable: dashboards depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from coe.engine import Attempt, Routed
from coe.gateway._counts import Counts, Spread
from coe.wire import Usage

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from coe.engine import Engine
    from coe.journal import Journal
    from coe.tenants import Tenants

_ROUTE_BUCKETS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2)
_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counts what the engine and the gateway tell it. One per gateway."""

    def __init__(self) -> None:
        self._kept: list[Counts | Spread] = []
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
        self._disconnects = self._counter("coe_client_disconnects", "Callers that went away early.")
        self._watched: tuple[Engine, Journal | None, Tenants | None] | None = None

    def watch(self, engine: Engine, journal: Journal | None = None, tenants: Tenants | None = None) -> None:
        """Report the live state of this engine's pool and cache, of journal and tenants, at each scrape.

        Of no others from then on.
        """
        self._watched = engine, journal, tenants

    def reloaded(self, outcome: str) -> None:
        """Another configuration was read: `applied`, or `refused`."""
        self._reloads.by[(outcome,)] += 1

    def collect(self) -> Iterable[Metric]:
        """All of them, as the library's families.

        prometheus_client, with its own HTTP server, is imported by the first scrape: nobody waits for it when
        the server starts.
        """
        for each in self._kept:
            yield from each.collect()
        if self._watched is not None:
            from coe.gateway._live_metrics import live_metrics

            yield from live_metrics(*self._watched)

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        from coe.gateway._exposition import exposition

        return exposition(self.collect())

    def _counter(self, name: str, text: str, *labels: str) -> Counts:
        counts = Counts(name, text, labels)
        self._kept.append(counts)
        return counts

    def _histogram(self, name: str, text: str, label: str, bounds: Sequence[float]) -> Spread:
        spread = Spread(name, text, label, bounds)
        self._kept.append(spread)
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
