"""Reward experts with one defect each. `fails` names the checks that must notice, and no others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from coe.contracts import Card, Context, RewardExpert
from coe.testing.conformance import RewardConformance


class Good:
    """Correct; each defect overrides one part."""

    @property
    def card(self) -> Card:
        return Card(name="good", kind="reward", capabilities=frozenset({"score"}))

    async def score(self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context) -> Any:
        return np.array([len(chat[-1]["content"]) for chat in chats], np.float32)

    async def aclose(self) -> None:
        pass


class _Kit(RewardConformance):
    broken: ClassVar[type[RewardExpert]] = Good
    fails: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def make(self) -> Callable[[], RewardExpert]:
        return self.broken


class TestGood(_Kit):
    pass


class DeclaresChat(Good):
    @property
    def card(self) -> Card:
        return Card(name="good", kind="reward")


class TestDeclaresChat(_Kit):
    broken = DeclaresChat
    fails = ("test_declares_score",)


class Doubles(Good):
    async def score(self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context) -> Any:
        return np.float64(await super().score(chats, context))


class TestDoubles(_Kit):
    broken = Doubles
    fails = ("test_scores_each_chat",)


class Normalises(Good):
    async def score(self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context) -> Any:
        scores = await super().score(chats, context)
        return scores / scores.max() if len(scores) else scores


class TestNormalises(_Kit):
    broken = Normalises
    fails = ("test_a_score_does_not_depend_on_company",)
