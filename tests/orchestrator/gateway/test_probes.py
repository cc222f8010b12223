"""Experts that are looked at: found ill before a request is, and well again without one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from coe.config import ProbeConfig
from coe.errors import ConfigError
from coe.pool._probes import Probe
from coe.testing import FakeUpstream

if TYPE_CHECKING:
    from conftest import Running, Start

PROBE = "probe: {path: /health, interval_s: 0.05, jitter: 0.5, timeout_s: 5}"


def pool(upstream: FakeUpstream, probe: str = PROBE) -> str:
    return f"""
experts:
  seen: {{kind: openai, base_url: '{upstream.base_url}', model: m, api_key: probe-key, {probe}}}
  on-it: {{kind: prompt, base: seen, instruction: Be brief.}}
  other: {{kind: echo}}
routers: {{auto: {{kind: first}}}}
"""


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(gateway: Running, expert: str) -> dict[str, object]:
    return gateway.client.get("/health/ready").json()["experts"][expert]


def test_an_ill_expert_is_left_alone_before_anybody_asks_it(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(pool(upstream))
    until(lambda: state(gateway, "seen").get("probe") == "ok")
    assert gateway.chat("x").json()["model"] == "seen"
    upstream.ill = True
    until(lambda: state(gateway, "seen") == {"healthy": False, "awake": True, "probe": "failing"})
    assert not state(gateway, "on-it")["healthy"]  # it asks the one that is ill
    served = upstream.served
    answered = gateway.chat("x")
    assert (answered.json()["model"], "x-coe-fallback-from" in answered.headers) == ("other", False)
    assert upstream.served == served
    rows = {row["id"]: row["coe"] for row in gateway.client.get("/v1/models").json()["data"]}
    assert (rows["seen"]["probe"], rows["seen"]["healthy"]) == ("failing", False)
    assert "probe" not in rows["other"]
    metrics = gateway.client.get("/metrics").text
    assert 'coe_expert_healthy{expert="seen"} 0.0' in metrics
    assert 'coe_expert_probes_total{expert="seen",outcome="failed"}' in metrics
    upstream.ill = False
    until(lambda: state(gateway, "seen").get("probe") == "ok")
    assert gateway.chat("x").json()["model"] == "seen"


def test_one_that_is_back_is_asked_at_once(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(pool(upstream) + "breaker: {failures: 1, open_s: 3600}\n")
    upstream.run(upstream.refuse())
    until(lambda: state(gateway, "seen").get("probe") == "failing")
    gateway.engine.pool.failed("seen")
    upstream.run(upstream.accept())
    until(lambda: state(gateway, "seen") == {"healthy": True, "awake": True, "probe": "ok"})
    assert gateway.chat("x").json()["model"] == "seen"


def test_an_expert_that_answers_looks_may_still_fail_requests(start: Start, upstream: FakeUpstream) -> None:
    gateway = start(pool(upstream) + "breaker: {failures: 1, open_s: 3600}\n")
    until(lambda: state(gateway, "seen").get("probe") == "ok")
    gateway.engine.pool.failed("seen")
    looks = len(upstream.received)
    until(lambda: len(upstream.received) > looks + 3)
    assert state(gateway, "seen") == {"healthy": False, "awake": True, "probe": "ok"}


def test_the_default_look_asks_for_the_models_with_the_experts_key(
    start: Start, upstream: FakeUpstream
) -> None:
    start(pool(upstream, "probe: {interval_s: 0.05}"))
    until(lambda: len(upstream.received) > 1)
    assert {(each.method, each.path) for each in upstream.received} == {("GET", "/v1/models")}
    assert upstream.received[0].header("authorization") == "Bearer probe-key"


def test_what_cannot_be_looked_at_is_refused(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"experts.a.probe: experts of kind `echo` cannot be looked at"):
        start("experts: {a: {kind: echo, probe: {}}}\nrouters: {auto: {kind: first}}\n")


def test_one_bad_look_says_nothing() -> None:
    class Target:
        async def probe(self, path: str, timeout_s: float) -> None: ...

    probe = Probe(ProbeConfig(failures=2), Target())
    changed = [probe.note(why) for why in ("", "x", "", "x", "x", "x", "")]
    assert changed == [False, False, False, False, True, False, True]
    assert (probe.passes, probe.failures, probe.state) == (3, 4, "ok")


def test_who_does_not_look_goes_by_what_it_is_told(start: Start, upstream: FakeUpstream) -> None:
    """As all workers but one do: their looks would add up at the server that is looked at."""
    gateway = start(pool(upstream, PROBE.replace("0.05", "1000")))
    until(lambda: state(gateway, "seen").get("probe") == "ok")  # its own first look; the next is far away
    prober = gateway.engine.prober
    assert prober is not None
    for _ in range(ProbeConfig().failures):
        prober.told("seen", "is ill")
    prober.told("nobody", "is ill")
    assert state(gateway, "seen") == {"healthy": False, "awake": True, "probe": "failing"}
    prober.told("seen", "")
    assert state(gateway, "seen") == {"healthy": True, "awake": True, "probe": "ok"}
    assert (
        'coe_expert_probes_total{expert="seen",outcome="failed"} 0.0' in gateway.client.get("/metrics").text
    )
