from typing import Any

import pytest

from coe.contracts import Features, Reason, Router
from coe.errors import ConfigError
from coe.testing import create, load, pool_view

RULES = [
    {"category": "arithmetic", "pattern": r"\d\s*[-+*/^]\s*\d", "experts": ["calculator"]},
    {"category": "code", "pattern": r"\bpython\b", "experts": ["coder", "large"]},
]


def router(**settings: Any) -> Router:
    return create(load("coe.routers", "rules"), settings={"rules": RULES, "default": ["large"], **settings})


POOL = pool_view("small", "calculator", "coder", "large")


@pytest.mark.parametrize(
    ("text", "expert", "category", "reason"),
    [
        ("What is 2 + 2?", "calculator", "arithmetic", Reason.CATEGORY),
        ("PYTHON, please", "coder", "code", Reason.CATEGORY),
        ("In Python, what is 2 + 2?", "calculator", "arithmetic", Reason.CATEGORY),
        ("hello", "large", "general", Reason.UNCERTAIN),
    ],
)
def test_the_first_rule_that_fits_decides(text: str, expert: str, category: str, reason: Reason) -> None:
    decision = router().route(Features(text=text), POOL)
    assert (decision.expert, decision.category, decision.reason) == (expert, category, reason)


def test_fallback_goes_from_the_rule_to_the_default_to_the_rest() -> None:
    decision = router().route(Features(text="2 + 2"), POOL)
    assert [each.expert for each in decision.ranked] == ["calculator", "large", "small", "coder"]


def test_an_absent_expert_is_passed_over() -> None:
    decision = router().route(Features(text="python"), pool_view("small", "large"))
    assert (decision.expert, decision.reason) == ("large", Reason.CATEGORY)
    decision = router().route(Features(text="2 + 2"), pool_view("small", "large"))
    assert (decision.expert, decision.reason) == ("large", Reason.UNMAPPED)
    decision = router().route(Features(text="2 + 2"), pool_view("small"))
    assert (decision.expert, decision.reason) == ("small", Reason.ONLY_ELIGIBLE)


def test_a_session_stays_with_its_expert_while_it_is_there() -> None:
    decision = router().route(Features(text="2 + 2", sticky_expert="small"), POOL)
    assert (decision.expert, decision.reason) == ("small", Reason.SESSION)
    decision = router().route(Features(text="2 + 2", sticky_expert="gone"), POOL)
    assert decision.expert == "calculator"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"category": "x", "pattern": "(", "experts": ["a"]}, "not a regular expression"),
        ({"category": "x", "pattern": "a", "experts": []}, "at least 1 item"),
        ({"category": "x", "pattern": "a", "experts": ["a"], "expert": "b"}, "Extra inputs"),
    ],
)
def test_a_wrong_rule_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        router(rules=[rule])
