"""`coe route`."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from coe.cli._printing import bar, decision_view, routing_line, sentence
from coe.client import Routing
from coe.contracts import Decision, Excluded, Ranked, Reason
from coe.engine import Routed

Run = Callable[..., tuple[int, str, str]]

SUMS = "What is the integral of x^2 dx?"
KEYS = [
    "model",
    "expert",
    "reason",
    "category",
    "confidence",
    "uncertainty",
    "categories",
    "ranked",
    "excluded",
    "revision",
    "cache",
    "route_us",
]


def _decision(reason: Reason = Reason.CATEGORY) -> Routed:
    decision = Decision(
        expert="sums",
        ranked=(Ranked("sums", 0.8125), Ranked("prose")),
        reason=reason,
        category="math",
        probabilities=(("math", 0.93), ("law [old]", 0.05)),
        uncertainty=0.07,
        excluded=(Excluded("tiny [1b]", "cannot do tools"),),
        revision="0123456789abcdef",
    )
    return Routed(model="auto", decision=decision, cache="miss", route_us=212)


def _shown(routed: Routed) -> str:
    out = io.StringIO()
    Console(file=out, width=100, soft_wrap=True).print(decision_view(routed))
    return out.getvalue()


def test_a_decision_in_words_and_bars() -> None:
    lines = [line.rstrip() for line in _shown(_decision()).splitlines()]
    assert lines == [
        "math (0.93) → expert sums, because it is the best eligible expert of that category.",
        "",
        "math       ██████████████████████▍   0.93",
        "law [old]  █▎                        0.05",
        "",
        "   expert     score",
        "1  sums       0.812",
        "2  prose      –",
        "✗  tiny [1b]  cannot do tools",
        "",
        "reason category · uncertainty 0.07 · router 0123456789ab · cache miss · 212 µs",
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason: Reason) -> None:
    said = sentence(_decision(reason))
    assert said.startswith("math (0.93) → expert sums, because ")
    assert said.endswith(".")
    assert {sentence(_decision(other)) for other in Reason if other is not reason}.isdisjoint({said})


def test_an_uncertain_decision_says_what_it_was_closest_to() -> None:
    routed = _decision(Reason.UNCERTAIN)
    general = dataclasses.replace(routed.decision, category="general")
    routed = msgspec.structs.replace(routed, decision=general)
    assert sentence(routed).startswith("general (at best math, 0.93) → expert sums, because no category")


def test_without_categories_there_is_no_number_to_show() -> None:
    routed = Routed(
        model="sums",
        decision=Decision(expert="sums", ranked=(Ranked("sums"),), reason=Reason.REQUESTED),
        cache="off",
        route_us=3,
    )
    assert sentence(routed) == "general → expert sums, because you asked for it."
    assert "router none" in _shown(routed)


@pytest.mark.parametrize(("share", "eighths"), [(0, 0), (0.001, 0), (0.5, 96), (0.9375, 180), (1, 192)])
def test_a_bar_is_as_long_as_its_share(share: float, eighths: int) -> None:
    drawn = bar(share)
    assert len(drawn) == 24
    partial = drawn.strip().lstrip("█")
    assert drawn.count("█") * 8 + (" ▏▎▍▌▋▊▉".index(partial) if partial else 0) == eighths


def test_who_answered_in_one_line() -> None:
    routing = Routing(
        expert="prose",
        expert_kind="model",
        category="math",
        confidence=0.93,
        cache="hit",
        route_us=12,
        decision_id="dec_1",
        reason=Reason.CATEGORY,
        fallback_from=("sums", "more"),
    )
    assert routing_line(routing) == "prose, because sums, more failed · math (0.93) · cache hit · 12 µs"
    plain = dataclasses.replace(routing, fallback_from=())
    assert routing_line(plain).startswith("prose, because it is the best eligible expert of that category · ")
    assert routing_line(dataclasses.replace(plain, reason=None)).startswith("prose · math")


def test_in_process(run: Run, pool_file: Path) -> None:
    code, out, err = run("route", SUMS, "--model", "topical", "-c", pool_file)
    assert (code, err) == (0, "")
    assert out.startswith("math (")
    assert "→ expert alpha, because it is the best eligible expert of that category." in out


def test_json_is_the_explanation_of_the_api(run: Run, pool_file: Path, server_url: str) -> None:
    here = json.loads(run("route", SUMS, "--json", "--model", "topical", "-c", pool_file)[1])
    there = json.loads(run("route", SUMS, "--json", "--model", "topical", "--url", server_url)[1])
    assert list(here) == list(there) == KEYS
    varying = {"cache", "route_us"}
    assert {key: here[key] for key in KEYS if key not in varying} == {
        key: there[key] for key in KEYS if key not in varying
    }
    assert (here["expert"], here["category"], here["reason"]) == ("alpha", "math", "category")


def test_the_prompt_from_stdin(run: Run, pool_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x" * 4000))
    code, out, _ = run("route", "-", "-c", pool_file)
    assert code == 0
    assert "✗  alpha   has a context window of 500 tokens; the request needs about 1000" in out


def test_mistakes_have_their_exit_codes(run: Run, pool_file: Path, tmp_path: Path) -> None:
    assert run("route", SUMS, "-c", tmp_path / "none.yaml")[0] == 3
    code, out, err = run("route", SUMS, "--model", "nobody", "-c", pool_file)
    assert (code, out) == (6, "")
    assert err.startswith("error: No model is called `nobody`.\nhint: ")
    code, _, err = run("route", SUMS, "--url", "http://127.0.0.1:9")
    assert code == 7
    assert "hint: Start one with `coe serve`." in err
    assert run("route")[0] == 2
