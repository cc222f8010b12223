"""An exporter of OpenTelemetry spans that keeps them in memory."""

from __future__ import annotations

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()


def exporter() -> InMemorySpanExporter:
    """Always the same one: what tests look at."""
    kept._stopped = False
    return kept
