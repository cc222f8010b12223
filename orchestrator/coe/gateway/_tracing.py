"""OpenTelemetry spans of requests, by the conventions for generative AI. Needs the extra `otel`.

Importing this module imports nothing of OpenTelemetry; `open_tracing` does, when the configuration wants it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from coe.engine import confidence
from coe.errors import CoeError, PluginError

if TYPE_CHECKING:
    from coe.config import TracingConfig
    from coe.gateway._note import Note

_OPERATIONS = {
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/score": "score",
    "/v1/rerank": "rerank",
}
_EXPORTERS = "opentelemetry_traces_exporter"
"""Entry points by which distributions offer exporters; OpenTelemetry's own group."""
_ASKED = ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_MISSING = "pip install 'coe-router[otel]' and an exporter, such as opentelemetry-exporter-otlp-proto-http."


class Span(Protocol):
    """The span of one request.

    Attributes:
        traceparent: what experts are told, so that their spans hang below this one.
    """

    traceparent: str

    def end(self, note: Note, status: int, code: str | None) -> None:
        """The request is over; `code` is that of what ended it, if anything did."""
        ...


class Tracing:
    """Makes spans and hands them to an exporter, in batches and in a thread of the SDK's own.

    Args:
        config: which exporter, and how much.
        exporter: made by the exporter's distribution.
    """

    def __init__(self, config: TracingConfig, exporter: Any) -> None:
        trace: Any = importlib.import_module("opentelemetry.trace")
        sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
        export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
        sampling: Any = importlib.import_module("opentelemetry.sdk.trace.sampling")
        resources: Any = importlib.import_module("opentelemetry.sdk.resources")
        context: Any = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._provider = sdk.TracerProvider(
            sampler=sampling.ParentBased(sampling.TraceIdRatioBased(config.sample)),
            resource=resources.Resource.create({"service.name": config.service_name}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("coe")
        self._extract: Callable[[dict[str, str]], Any] = context.TraceContextTextMapPropagator().extract
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.Status(trace.StatusCode.ERROR)

    def begin(self, note: Note, traceparent: str | None) -> Span:
        """A span for this request, below the caller's if it names one."""
        request = note.request
        model = "" if request is None else request.body.model
        operation = _OPERATIONS.get(note.endpoint or "", "chat")
        span = self._tracer.start_span(
            f"{operation} {model}",
            context=self._extract({"traceparent": traceparent}) if traceparent else None,
            kind=self._kind,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": "coe",
                "gen_ai.request.model": model,
                "coe.decision_id": note.request_id,
                "coe.tenant": note.tenant,
            },
        )
        return _Span(span, self._failed)

    def close(self) -> None:
        """Hand over what is left. It waits for the exporter."""
        self._provider.shutdown()


class _Span:
    __slots__ = ("_failed", "_span", "traceparent")

    def __init__(self, span: Any, failed: Any) -> None:
        self._span = span
        self._failed = failed
        ids = span.get_span_context()
        self.traceparent = f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{int(ids.trace_flags):02x}"

    def end(self, note: Note, status: int, code: str | None) -> None:
        if self._span.is_recording():
            self._span.set_attributes(_attributes(note))
            if status >= 400:
                self._span.set_attribute("http.response.status_code", status)
            if code is not None:
                self._span.set_attribute("error.type", code)
                self._span.set_status(self._failed)
        self._span.end()


def _attributes(note: Note) -> dict[str, Any]:
    """What is known at the end; OpenTelemetry takes no nulls."""
    found: dict[str, Any] = {}
    if note.request is not None:
        asked = {name: getattr(note.request.body, name) for name in _ASKED}
        found |= {f"gen_ai.request.{name}": value for name, value in asked.items() if value is not None}
        found["coe.streamed"] = bool(note.request.body.stream)
    if (routed := note.trail.routed) is not None:
        decision = routed.decision
        found["coe.category"] = decision.category
        found["coe.confidence"] = confidence(routed)
        found["coe.chosen"] = decision.expert
        found["coe.reason"] = str(decision.reason)
        found["coe.propensity"] = decision.propensity
        found["coe.cache"] = routed.cache
        found["coe.route_us"] = routed.route_us
        found["coe.revision"] = decision.revision
        if routed.switch is not None:
            found["coe.session_switch"] = routed.switch.why
    found["coe.attempts"] = [f"{each.expert} {each.error or 'ok'}" for each in note.trail.attempts]
    if (served := note.served) is not None:
        found["gen_ai.response.model"] = found["coe.expert"] = served.card.name
        if (usage := served.reply.usage) is not None:
            found["gen_ai.usage.input_tokens"] = usage.prompt_tokens
            found["gen_ai.usage.output_tokens"] = usage.completion_tokens
            found["coe.usage_estimated"] = served.reply.estimated
    if note.first_byte_at is not None:
        found["coe.first_byte_us"] = int((note.first_byte_at - note.started) * 1e6)
    return found


def open_tracing(config: TracingConfig) -> Tracing | None:
    """The tracing of a configuration; None when it wants none.

    Raises:
        PluginError: OpenTelemetry or the exporter is not installed, or the exporter cannot be made.
    """
    if config.exporter is None:
        return None
    found = [each for each in entry_points(group=_EXPORTERS) if each.name == config.exporter]
    if not found:
        raise PluginError(f"tracing.exporter: no exporter is called `{config.exporter}`.", hint=_MISSING)
    try:
        return Tracing(config, found[0].load()())
    except CoeError:
        raise
    # An exporter is somebody else's code: whatever it raises, what serves goes on.
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise PluginError(f"tracing.exporter: `{config.exporter}` cannot be used: {why}.") from error
