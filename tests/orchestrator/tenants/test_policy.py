"""Policies, and what things cost."""

from __future__ import annotations

import pytest

from coe.config import PolicyConfig
from coe.contracts import Card
from coe.tenants._policy import cost_nano, policy_of


def test_a_share_is_whole_requests() -> None:
    strong = {"experts": ["big"], "max_share": 0.29, "window": 100}
    assert policy_of("acme", PolicyConfig.model_validate({"strong_share": strong}), []).most_strong == 29


@pytest.mark.parametrize(
    ("policy", "models"),
    [
        ({}, None),
        ({"models": ["auto", "big"]}, {"auto", "big"}),
        ({"experts": ["small"]}, {"auto", "cheap", "small"}),
        ({"models": ["auto", "big"], "experts": ["small"]}, {"auto"}),
    ],
)
def test_an_expert_that_may_not_answer_may_not_be_asked_for(policy: object, models: set[str] | None) -> None:
    assert policy_of("acme", PolicyConfig.model_validate(policy), ["auto", "cheap"]).models == models


@pytest.mark.parametrize(
    ("card", "nano"),
    [
        (Card(name="x", input_usd_per_mtok=1, output_usd_per_mtok=2), 5_000),
        (Card(name="x", input_usd_per_mtok=0.0000001, output_usd_per_mtok=0), 1),
        (Card(name="x", input_usd_per_mtok=0, output_usd_per_mtok=0), 0),
        (Card(name="x", locality="local"), 0),
        (Card(name="x"), None),
        (Card(name="x", input_usd_per_mtok=1, locality="local"), None),
    ],
)
def test_costs_in_whole_nano_usd_rounded_up(card: Card, nano: int | None) -> None:
    assert cost_nano(card, 1, 2) == nano
