"""Routers with one defect each. `fails` names the checks of the kit that must notice, and no others."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from coe.contracts import Decision, Features, PoolView, Ranked, Reason, Router
from coe.testing.conformance import RouterConformance

SOUND = (
    "test_decisions_are_sound",
    "test_any_part_of_the_pool_will_do",
    "test_an_expert_it_does_not_know_will_do",
    "test_sleeping_experts_and_sessions_will_do",
)


class Good:
    """Correct; each defect overrides one part."""

    @property
    def revision(self) -> str:
        return "r1"

    def route(self, features: Features, view: PoolView) -> Decision:
        ranked = tuple(Ranked(name) for name in view.experts)
        return Decision(
            expert=ranked[0].expert, ranked=ranked, reason=Reason.CATEGORY, revision=self.revision
        )

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        return [self.route(each, view) for each in features]


class _Kit(RouterConformance):
    broken: ClassVar[type[Router]] = Good
    fails: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def make(self) -> Callable[[], Router]:
        return self.broken


class TestGood(_Kit):
    pass


class _Altered(Good):
    def alter(self, decision: Decision) -> Decision:
        return decision

    def route(self, features: Features, view: PoolView) -> Decision:
        return self.alter(super().route(features, view))


class ChoosesStrangers(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, expert="mallory", ranked=(Ranked("mallory"),))


class TestChoosesStrangers(_Kit):
    broken = ChoosesStrangers
    fails = SOUND


class ForgetsTheChosen(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, ranked=decision.ranked[1:])


class TestForgetsTheChosen(_Kit):
    broken = ForgetsTheChosen
    fails = SOUND


class RanksTwice(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, ranked=decision.ranked + decision.ranked[:1])


class TestRanksTwice(_Kit):
    broken = RanksTwice
    fails = SOUND


class TooProbable(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, probabilities=(("a", 0.6), ("b", 0.5)))


class TestTooProbable(_Kit):
    broken = TooProbable
    fails = SOUND


class Unsorted(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, probabilities=(("a", 0.2), ("b", 0.5)))


class TestUnsorted(_Kit):
    broken = Unsorted
    fails = SOUND


class AnotherRevision(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, revision="r0")


class TestAnotherRevision(_Kit):
    broken = AnotherRevision
    fails = SOUND


class ChoosesTheImpossible(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, propensity=0.0)


class TestChoosesTheImpossible(_Kit):
    broken = ChoosesTheImpossible
    fails = SOUND


class CountsRequests(_Altered):
    count = 0

    def alter(self, decision: Decision) -> Decision:
        self.count += 1
        return dataclasses.replace(decision, uncertainty=1 / self.count)


class TestCountsRequests(_Kit):
    broken = CountsRequests
    fails = ("test_the_same_question_gets_the_same_decision", "test_a_batch_decides_as_one_by_one")


class ThrowsDice(_Altered):
    def alter(self, decision: Decision) -> Decision:
        return dataclasses.replace(decision, uncertainty=random.random())


class TestThrowsDice(_Kit):
    broken = ThrowsDice
    fails = TestCountsRequests.fails


class ByLength(Good):
    def route(self, features: Features, view: PoolView) -> Decision:
        decision = super().route(features, view)
        return dataclasses.replace(decision, uncertainty=1 / (1 + len(features.text)))


class BatchesInReverse(ByLength):
    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        return super().route_batch(features, view)[::-1]


class TestBatchesInReverse(_Kit):
    broken = BatchesInReverse
    fails = ("test_a_batch_decides_as_one_by_one",)


class NeedsItsFavourite(Good):
    def route(self, features: Features, view: PoolView) -> Decision:
        decision = super().route(features, view)
        favourite = view.experts["alpha"].card.name
        return dataclasses.replace(decision, expert=favourite)


class TestNeedsItsFavourite(_Kit):
    broken = NeedsItsFavourite
    fails = ("test_any_part_of_the_pool_will_do", "test_an_expert_it_does_not_know_will_do")


class TrustsTheSession(Good):
    def route(self, features: Features, view: PoolView) -> Decision:
        decision = super().route(features, view)
        sticky = features.sticky_expert or decision.expert
        rest = tuple(each for each in decision.ranked if each.expert != sticky)
        return dataclasses.replace(decision, expert=sticky, ranked=(Ranked(sticky), *rest))


class TestTrustsTheSession(_Kit):
    broken = TrustsTheSession
    fails = ("test_sleeping_experts_and_sessions_will_do",)


class StumblesOverEmptyText(Good):
    def route(self, features: Features, view: PoolView) -> Decision:
        features.text.split()[0]
        return super().route(features, view)


class TestStumblesOverEmptyText(_Kit):
    broken = StumblesOverEmptyText
    fails = (
        "test_decisions_are_sound",
        "test_the_same_question_gets_the_same_decision",
        "test_a_batch_decides_as_one_by_one",
    )


class RevisionDrifts(Good):
    def __init__(self) -> None:
        self.drift = random.random()

    @property
    def revision(self) -> str:
        return f"r{self.drift}"


class TestRevisionDrifts(_Kit):
    broken = RevisionDrifts
    fails = ("test_revision_is_stable", "test_the_same_question_gets_the_same_decision")


class TestRevisionIgnoresSettings(_Kit):
    fails = ("test_revision_follows_the_settings",)

    @pytest.fixture
    def make_other(self) -> Callable[[], Router]:
        return ByLength
