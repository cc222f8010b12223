"""What all strategies share as experts."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from coe.contracts import Build, Card, Context, Expert, Reply, RewardExpert, Startable
from coe.errors import ConfigError
from coe.wire import ChatRequest
from coe_dmoerm.strategies._asking import Round, StrategySettings, Tried, refuse_what_cannot_be_chosen
from coe_dmoerm.strategies._purse import Purse


class Composite(ABC):
    """Asks experts and answers with one of their answers.

    Args:
        card: its facts.
        experts: who may be asked.
        settings: caps and the longest answer.
    """

    def __init__(self, card: Card, experts: Sequence[Expert], settings: StrategySettings) -> None:
        self._card = card
        self._experts = experts
        self._settings = settings

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether all experts can answer at once."""
        return all(expert.awake for expert in self._experts if isinstance(expert, Startable))

    async def start(self) -> None:
        """Wake the experts. Raises `ExpertUnavailable` with the reason."""
        await asyncio.gather(*(each.start() for each in self._experts if isinstance(each, Startable)))

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer. When the caller goes away, or an answer is chosen, no call goes on.

        Raises:
            ExpertRejected: several choices are asked for, or the caps allow no call at all.
            CoeError: nobody answered: the last error.
        """
        refuse_what_cannot_be_chosen(self._card.name, request)
        caps, longest = self._settings.caps, self._settings.max_tokens
        held = Round(request, context, Purse(caps), longest)
        return held.reply(await self._choose(held))

    async def aclose(self) -> None:  # noqa: B027  (the experts close themselves)
        """Nothing of its own to free."""

    @abstractmethod
    async def _choose(self, held: Round) -> Tried | None:
        """Ask, and choose one of the answers; None when there is none."""


def judge_of(name: str, build: Build, reward: str) -> RewardExpert:
    """The reward expert of that name. Raises `ConfigError` when it cannot score."""
    expert = build.expert(reward)
    if "score" not in expert.card.capabilities:
        raise ConfigError(f"experts.{name}.reward: `{reward}` cannot score.")
    return cast("RewardExpert", expert)


def best(answers: Sequence[Tried]) -> Tried | None:
    """The answer of the highest reward; the first of equals, and the first at all where none has one."""
    came = [each for each in answers if each.body is not None]
    return max(came, key=lambda each: float("-inf") if each.reward is None else each.reward, default=None)
