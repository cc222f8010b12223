"""Decisions: by `Router` alone, by a client in process, and by a server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from coe import Client, Router
from coe.breaker import Breaker
from coe.client._setup import Unobserved, build_engine, load_config
from coe.config import InvalidConfig
from coe.contracts import Decision, Excluded, Features, PoolView, Ranked, Reason
from coe.engine import Engine, Routed, RouterBinding, explanation, routed_from
from coe.errors import PluginError

SUMS = "What is the integral of x^2 dx?"
POEM = "Write a short poem about autumn rain."
LONG = "Tell me more about the sea. " * 100


@pytest.fixture(scope="module")
def router(pool_file: Path) -> Router:
    return Router.open(pool_file)


@pytest.mark.parametrize("prompt", [SUMS, POEM, LONG, ""])
@pytest.mark.parametrize("model", ["auto", "topical", "beta"])
def test_server_process_and_router_decide_alike(
    router: Router, client: Client, prompt: str, model: str
) -> None:
    routed = client.route(prompt, model=model)
    assert routed.model == model
    assert routed.decision == router.route(prompt, model=model)


def test_a_decision_says_why(router: Router) -> None:
    decision = router.route(SUMS, model="topical")
    assert (decision.expert, decision.category, decision.reason) == ("alpha", "math", Reason.CATEGORY)
    assert decision.probabilities[0][0] == "math"
    assert [ranked.expert for ranked in decision.ranked] == ["alpha", "beta"]


def test_what_the_request_needs_excludes(router: Router) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    decision = router.route(messages=[{"role": "user", "content": POEM}], model="topical", tools=[tool])
    assert (decision.expert, decision.reason) == ("alpha", Reason.ONLY_ELIGIBLE)
    assert decision.excluded == (Excluded("beta", "cannot do tools"),)


def test_a_batch_is_decided_as_one_by_one(router: Router) -> None:
    batch = [SUMS, LONG, POEM, [{"role": "user", "content": SUMS}], LONG + "!" * 400, ""]
    for model in ("auto", "topical", "beta"):
        one_by_one = [router.route(each, model=model) for each in batch]
        assert router.route_batch(batch, model=model) == one_by_one
    long = router.route_batch(batch, model="topical")
    # Each carries its own reasons, though they are decided together.
    assert long[1].excluded[0].why != long[4].excluded[0].why
    assert router.route_batch([]) == []


def test_models_lists_what_can_be_asked_for(router: Router) -> None:
    assert [info.id for info in router.models()][:5] == ["auto", "topical", "fallen", "alpha", "beta"]


def test_a_router_that_raises_is_named(pool_file: Path) -> None:
    class Broken:
        revision = "broken"

        def route(self, features: Features, view: PoolView) -> Decision:
            raise ZeroDivisionError("by zero")

        def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
            return [self.route(each, view) for each in features]

    pool = build_engine(load_config(pool_file), cached=False).pool
    binding = RouterBinding(Broken(), None, Breaker(1, 1))
    router = Router(Engine(pool, {"auto": binding}, None, Unobserved(), time.monotonic, 1))
    with pytest.raises(PluginError, match="`auto` failed: ZeroDivisionError: by zero"):
        router.route("hello")


def test_a_wrong_configuration_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    path.write_text("experts:\n  alpha:\n    kind: echo\n    delay_s: soon\nrouters: {auto: {kind: first}}\n")
    with pytest.raises(InvalidConfig, match=r"coe\.yaml:4"):
        Router.open(path)
    with pytest.raises(InvalidConfig, match=r"coe\.yaml:4"):
        Client.open(path)


def test_deciding_touches_no_network_and_starts_nothing(pool_file: Path, tmp_path: Path) -> None:
    shared = tmp_path / "coe.yaml"
    cache = "cache: {shared: {kind: redis, url: 'redis://127.0.0.1:9/0'}}\n"
    shared.write_text(pool_file.read_text() + cache)
    code = f"""
import sys
from coe import Router
def audit(event, arguments):
    if event in ("socket.connect", "subprocess.Popen", "os.posix_spawn", "os.fork"):
        raise SystemExit(event)
sys.addaudithook(audit)
print(Router.open({str(shared)!r}).route({SUMS!r}, model="topical").expert)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("alpha\n", "")


def test_an_explanation_holds_the_whole_decision() -> None:
    decision = Decision(
        expert="a",
        ranked=(Ranked("a", 0.5), Ranked("b")),
        reason=Reason.UNCERTAIN,
        category="general",
        probabilities=(("math", 0.4), ("law", 0.3)),
        uncertainty=0.6,
        excluded=(Excluded("c", "cannot do tools"),),
        revision="r1",
    )
    routed = Routed(model="auto", decision=decision, cache="hit", route_us=12)
    assert routed_from(explanation(routed)) == routed
