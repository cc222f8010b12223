"""What every router must do."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import Any, ClassVar

import numpy as np
import pytest

from coe.contracts import Card, Decision, ExpertState, Features, PoolView, Reason, Router, ToolFact
from coe.testing._make import pool_view

ODD_TEXTS = (
    "",
    " \n\t ",
    "?",
    "\x00\x01",
    "Ω≈ç√∫ 你好 שלום 🎉👩‍👩‍👧",
    "a" * 50_000,
    "word " * 20_000,
    "e\u0301" * 100,
)
"""Texts that a router or embedder may stumble over: empty, blank, control, mixed scripts, long, combining."""

_EPSILON = 1e-4


class RouterConformance:
    """Checks of a `Router`. Override `make`; override `experts` when it knows its experts by name.

    Attributes:
        experts: the pool; names stand for default cards. Put all that its settings name here.
        texts: prompts that it is made for.
    """

    experts: ClassVar[Sequence[str | Card | ExpertState]] = ("alpha", "beta", "gamma")
    texts: ClassVar[Sequence[str]] = (
        "Write a Python function that reverses a linked list.",
        "What is the integral of x squared?",
        "Tell me about the French Revolution.",
        "Write a poem about the sea.",
        "hello",
    )

    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        """Makes a new router, each time from the same settings."""
        raise NotImplementedError("override the fixture `make`")

    @pytest.fixture
    def make_other(self) -> Callable[[], Router] | None:
        """Makes a router from other settings, which decides otherwise; None when it has no settings."""
        return None

    def test_revision_is_stable(self, make: Callable[[], Router]) -> None:
        """The same settings give the same revision, before and after routing."""
        router = make()
        before = router.revision
        assert before, "the revision is part of the decision cache's key: it cannot be empty"
        router.route(Features(text=self.texts[0]), self._view())
        assert router.revision == before, "routing changed the revision"
        assert make().revision == before, "the same settings gave another revision"

    def test_revision_follows_the_settings(
        self, make: Callable[[], Router], make_other: Callable[[], Router] | None
    ) -> None:
        """Other settings give another revision, or cached decisions would be stale."""
        if make_other is None:
            pytest.skip("no `make_other`")
        assert make_other().revision != make().revision

    def test_decisions_are_sound(self, make: Callable[[], Router]) -> None:
        """Everything in a decision keeps the contract, for ordinary prompts and odd ones."""
        router, view = make(), self._view()
        for features in self._features():
            _check(router.route(features, view), view, router.revision)

    def test_the_same_question_gets_the_same_decision(self, make: Callable[[], Router]) -> None:
        """Repeated, in another order, by another instance, under other global seeds: decisions are pure."""
        router, view, questions = make(), self._view(), self._features()
        first = [router.route(features, view) for features in questions]
        random.seed(1)
        np.random.seed(1)
        again = [router.route(features, view) for features in reversed(questions)]
        assert again[::-1] == first, "asked again, it decided otherwise"
        other = make()
        assert [other.route(features, view) for features in questions] == first, "another instance disagrees"

    def test_a_batch_decides_as_one_by_one(self, make: Callable[[], Router]) -> None:
        """`route_batch` is an optimisation, not another policy."""
        router, view, questions = make(), self._view(), self._features()
        assert router.route_batch(questions, view) == [router.route(each, view) for each in questions]
        assert router.route_batch([], view) == []

    def test_any_part_of_the_pool_will_do(self, make: Callable[[], Router]) -> None:
        """Eligibility may leave any experts, one at least; those are the only ones that it may choose."""
        router, states = make(), list(self._view().experts.values())
        sizes = range(1, len(states) + 1) if len(states) <= 6 else (1, 2, len(states) - 1)
        for size in sizes:
            for part in combinations(states, size):
                view = pool_view(*part)
                for text in self.texts:
                    _check(router.route(Features(text=text), view), view, router.revision)

    def test_an_expert_it_does_not_know_will_do(self, make: Callable[[], Router]) -> None:
        """A pool may hold experts that the router was never told of."""
        router, stranger = make(), "stranger-f00d"
        alone = pool_view(stranger)
        assert router.route(Features(text=self.texts[0]), alone).expert == stranger
        mixed = pool_view(*self.experts, stranger)
        _check(router.route(Features(text=self.texts[0]), mixed), mixed, router.revision)

    def test_sleeping_experts_and_sessions_will_do(self, make: Callable[[], Router]) -> None:
        """Experts that sleep, and a session with an expert that is in the pool or has left it."""
        router, states = make(), list(self._view().experts.values())
        asleep = pool_view(*(ExpertState(state.card, awake=False) for state in states))
        for sticky in (states[-1].card.name, "gone-f00d"):
            features = Features(text=self.texts[0], sticky_expert=sticky)
            for view in (self._view(), asleep):
                _check(router.route(features, view), view, router.revision)

    def _view(self) -> PoolView:
        return pool_view(*self.experts)

    def _features(self) -> list[Features]:
        tools = (ToolFact("get_weather", "Weather of a city"), ToolFact("search"))
        return [
            *(Features(text=text) for text in (*self.texts, *ODD_TEXTS)),
            Features(
                text=self.texts[0], tools=tools, required=frozenset({"chat", "tools"}), tokens=1_000_000
            ),
        ]


def _check(decision: Any, view: PoolView, revision: str) -> None:
    assert isinstance(decision, Decision)
    assert decision.expert in view.experts, f"chose `{decision.expert}`, which is not in the view"
    ranked = [each.expert for each in decision.ranked]
    assert ranked, "`ranked` is empty: it begins with the chosen expert"
    assert ranked[0] == decision.expert, "`ranked` does not begin with the chosen expert"
    assert len(set(ranked)) == len(ranked), "`ranked` names an expert twice"
    assert set(ranked) <= view.experts.keys(), "`ranked` names experts that are not in the view"
    for each in decision.ranked:
        assert each.score is None or 0 <= each.score <= 1, "a score is None or within 0..1"
    assert isinstance(decision.reason, Reason)
    assert decision.category
    assert decision.revision == revision, "the decision carries another revision than the router"
    assert 0 <= decision.uncertainty <= 1
    assert 0 < decision.propensity <= 1, "what was chosen was chosen with a probability above 0"
    names = [name for name, _ in decision.probabilities]
    values = [value for _, value in decision.probabilities]
    assert len(set(names)) == len(names), "a category appears twice"
    assert all(0 <= value <= 1 + _EPSILON for value in values), "a probability is outside 0..1"
    assert sum(values) <= 1 + _EPSILON, "the probabilities sum to more than 1"
    assert all(high >= low for high, low in pairwise(values)), "the probabilities are not sorted"
