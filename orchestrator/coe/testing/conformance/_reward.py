"""What every expert that scores chats must do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from coe.contracts import RewardExpert, Startable
from coe.testing._make import context

Chat = Sequence[Mapping[str, Any]]


def _answered(question: str, answer: str) -> Chat:
    return ({"role": "user", "content": question}, {"role": "assistant", "content": answer})


class RewardConformance:
    """Checks of a `RewardExpert`. Override `make`.

    Attributes:
        chats: chats to score, each ending with an answer.
        tolerance: largest difference between the same chat scored alone and among others.
        timeout_s: longest time for one check, in seconds.
    """

    chats: ClassVar[Sequence[Chat]] = (
        _answered("What is two plus two?", "Four."),
        _answered("What is two plus two?", "A purple sort of Tuesday."),
        _answered("Name a river in France.", "The Loire."),
    )
    tolerance: ClassVar[float] = 1e-3
    timeout_s: ClassVar[float] = 60

    @pytest.fixture
    def make(self) -> Callable[[], RewardExpert]:
        """Makes a new expert. Called inside the event loop."""
        raise NotImplementedError("override the fixture `make`")

    def test_declares_score(self, make: Callable[[], RewardExpert]) -> None:
        """Its card says that it scores."""

        async def check(expert: RewardExpert) -> None:
            assert isinstance(expert, RewardExpert), f"{type(expert).__name__} lacks card, score or aclose"
            assert "score" in expert.card.capabilities

        self._with(make, check)

    def test_scores_each_chat(self, make: Callable[[], RewardExpert]) -> None:
        """Finite float32[n], one per chat, and float32[0] for none."""

        async def check(expert: RewardExpert) -> None:
            scores = await expert.score(self.chats, context(timeout_s=self.timeout_s))
            assert scores.dtype == np.float32
            assert scores.shape == (len(self.chats),)
            assert np.isfinite(scores).all()
            none = await expert.score([], context(timeout_s=self.timeout_s))
            assert none.shape == (0,)

        self._with(make, check)

    def test_a_score_does_not_depend_on_company(self, make: Callable[[], RewardExpert]) -> None:
        """A chat gets the same score alone, among others, and in another order."""

        async def check(expert: RewardExpert) -> None:
            together = await expert.score(self.chats, context(timeout_s=self.timeout_s))
            turned = await expert.score(self.chats[::-1], context(timeout_s=self.timeout_s))
            alone = [await expert.score([chat], context(timeout_s=self.timeout_s)) for chat in self.chats]
            np.testing.assert_allclose(turned[::-1], together, atol=self.tolerance)
            np.testing.assert_allclose(np.concatenate(alone), together, atol=self.tolerance)

        self._with(make, check)

    def _with(
        self, make: Callable[[], RewardExpert], check: Callable[[RewardExpert], Awaitable[None]]
    ) -> None:
        async def run() -> None:
            expert = make()
            try:
                if isinstance(expert, Startable):
                    await expert.start()
                async with asyncio.timeout(self.timeout_s):
                    await check(expert)
            finally:
                await expert.aclose()

        asyncio.run(run())
