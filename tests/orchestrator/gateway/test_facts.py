"""What is said of a decision, kept for the requests that share it."""

from __future__ import annotations

import json

from coe.contracts import Card, Decision, Ranked, Reason, Reply
from coe.engine import Routed, Served
from coe.engine._records import Attempt, Switch
from coe.gateway._facts import coe_json, told


def test_a_fallback_and_a_switch_are_of_one_request() -> None:
    decision = Decision(expert="b", ranked=(Ranked("b"), Ranked("a")), reason=Reason.CATEGORY)
    card = Card(name="a")

    def said(attempts: tuple[Attempt, ...], switch: Switch | None) -> dict[str, object]:
        routed = Routed(model="auto", decision=decision, cache="hit", route_us=1, switch=switch)
        served = Served(routed=routed, card=card, attempts=attempts, reply=Reply())
        return json.loads(coe_json("dec_1", served, told(served), explain=False))

    failed, answered = Attempt("b", "expert_timeout", 0.1), Attempt("a", "", 0.1)
    first = said((failed, answered), Switch("c", "unhealthy"))
    assert first["fallback_from"] == ["b"]
    assert first["session_switch"] == {"from": "c", "why": "unhealthy"}
    again = said((answered,), None)
    assert again == {
        key: value for key, value in first.items() if key not in ("fallback_from", "session_switch")
    }
