"""What every coe plugin must do, checked by coe's own kit."""

from collections.abc import Callable

import pytest

from coe.contracts import Expert, Router
from coe.testing import create, load
from coe.testing.conformance import ExpertConformance, RouterConformance

RULES = [
    {"category": "arithmetic", "pattern": r"\d\s*[-+*/^]\s*\d", "experts": ["gamma"]},
    {"category": "code", "pattern": r"\bpython\b|\bfunction\b", "experts": ["beta", "alpha"]},
]


class TestCalculator(ExpertConformance):
    prompts = tuple(f"What is {number} * {number + 1}?" for number in range(2, 18))

    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        return lambda: create(load("coe.experts", "calculator"))


class TestRules(RouterConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "rules"), settings={"rules": RULES, "default": ["alpha"]})

    @pytest.fixture
    def make_other(self) -> Callable[[], Router]:
        return lambda: create(load("coe.routers", "rules"), settings={"rules": RULES[:1]})
