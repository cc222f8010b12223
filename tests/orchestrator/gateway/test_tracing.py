"""OpenTelemetry spans, from a caller's trace to the expert's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from coe_test_plugin.spans import kept

from coe.config import TracingConfig
from coe.errors import PluginError
from coe.gateway._tracing import open_tracing
from coe.testing import FakeUpstream, Fault

if TYPE_CHECKING:
    from conftest import Running, Start

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    kept.clear()
    yield
    kept.clear()


@pytest.fixture
def gateway(start: Start, upstream: FakeUpstream) -> Running:
    return start(config(upstream))


def config(upstream: FakeUpstream, tracing: str = "exporter: coe-test-memory") -> str:
    return f"""
plugins: {{allow: [coe-test-plugin]}}
experts:
  a: {{kind: openai, base_url: '{upstream.base_url}', model: m-a}}
  b: {{kind: openai, base_url: '{upstream.base_url}', model: m-b}}
  judge: {{kind: critic}}
routers: {{auto: {{kind: first}}}}
tracing: {{{tracing}}}
"""


def spans(gateway: Running, count: int = 1) -> list[Any]:
    """What was exported, once it is so many: a span ends a moment after its caller has the answer."""
    tracing = gateway.gateway.serving.tracing
    assert tracing is not None
    deadline = time.monotonic() + 20
    while True:
        tracing._provider.force_flush()
        found = list(kept.get_finished_spans())
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def test_a_span_says_what_was_asked_decided_and_used(gateway: Running, upstream: FakeUpstream) -> None:
    gateway.client.headers["traceparent"] = PARENT
    answered = gateway.chat("one two three", max_tokens=9, temperature=0.5)
    (span,) = spans(gateway)
    found = dict(span.attributes)
    assert span.name == "chat auto"
    assert span.kind.name == "CLIENT"
    assert span.resource.attributes["service.name"] == "coe"
    assert found.pop("coe.first_byte_us") > 0
    assert found.pop("coe.route_us") > 0
    assert found.pop("coe.revision")
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "coe",
        "gen_ai.request.model": "auto",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "a",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 3,
        "coe.usage_estimated": False,
        "coe.decision_id": answered.headers["x-coe-decision-id"],
        "coe.tenant": "default",
        "coe.streamed": False,
        "coe.category": "general",
        "coe.confidence": 1.0,
        "coe.chosen": "a",
        "coe.expert": "a",
        "coe.reason": "category",
        "coe.propensity": 1.0,
        "coe.cache": "miss",
        "coe.attempts": ("a ok",),
    }
    assert f"{span.context.trace_id:032x}" == PARENT[3:35]
    assert f"{span.parent.span_id:016x}" == PARENT[36:52]
    told = upstream.received[0].header("traceparent")
    assert told == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def test_a_span_lasts_as_long_as_its_stream_and_tells_of_its_end(
    gateway: Running, upstream: FakeUpstream
) -> None:
    upstream.script(Fault.SERVER_ERROR, Fault.TRUNCATED)
    gateway.chat("one two", stream=True)
    (span,) = spans(gateway)
    assert span.attributes["coe.attempts"] == ("a expert_unavailable", "b ok")
    assert span.attributes["gen_ai.response.model"] == "b"
    assert span.attributes["error.type"] == "expert_unavailable"
    assert span.status.status_code.name == "ERROR"


def test_refusals_and_other_endpoints_have_spans_too(gateway: Running) -> None:
    gateway.chat("x", model="nobody")
    gateway.client.post("/v1/completions", json={"model": "a", "prompt": "x"})
    gateway.client.post("/v1/embeddings", json={"model": "judge", "input": "x"})
    gateway.client.post("/v1/score", json={"model": "judge", "text_1": "x", "text_2": "x"})
    names = [(span.name, span.attributes.get("error.type")) for span in spans(gateway, 4)]
    assert names == [
        ("chat nobody", "model_not_found"),
        ("text_completion a", None),
        ("embeddings judge", None),
        ("score judge", None),
    ]
    assert spans(gateway, 4)[0].attributes["http.response.status_code"] == 404


def test_a_part_is_kept_but_the_callers_choice_counts(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(config(upstream, "exporter: coe-test-memory, sample: 0"))
    gateway.chat("x")
    told = upstream.received[0].header("traceparent")
    assert told is not None
    assert int(told[-2:], 16) & 1 == 0
    gateway.client.headers["traceparent"] = PARENT
    gateway.chat("x")
    (span,) = spans(gateway)
    assert f"{span.context.trace_id:032x}" == PARENT[3:35]


def test_without_tracing_the_callers_trace_passes_through(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(config(upstream, ""))
    gateway.client.headers["traceparent"] = PARENT
    gateway.chat("x")
    assert upstream.received[0].header("traceparent") == PARENT


def test_nothing_of_it_is_imported_when_it_is_off() -> None:
    code = (
        "import sys; from coe.config import loads; from coe.gateway import Metrics, build\n"
        "from coe.registry import Registry\n"
        "text = 'experts: {a: {kind: echo}}\\nrouters: {auto: {kind: two-step}}\\n'\n"
        "build(loads(text, {}), Registry(), Metrics(), lambda: 0.0)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_exporter_that_is_not_there_is_named() -> None:
    with pytest.raises(PluginError, match=r"no exporter is called `nowhere`.*coe-router\[otel\]"):
        open_tracing(TracingConfig(exporter="nowhere"))
    with pytest.raises(PluginError, match=r"`coe-test-broken` cannot be used: ImportError"):
        open_tracing(TracingConfig(exporter="coe-test-broken"))
