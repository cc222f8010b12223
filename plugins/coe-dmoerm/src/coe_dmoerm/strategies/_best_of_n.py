"""Several answers, the one with the highest reward."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveInt

from coe.contracts import Build, Card, Expert, ExpertName, Plugin, RewardExpert
from coe_dmoerm.strategies._asking import (
    Round,
    StrategySettings,
    Tried,
    cancel_all,
    composite_card,
    first_done,
)
from coe_dmoerm.strategies._composite import Composite, best, judge_of
from coe_dmoerm.strategies._purse import check_prices


class BestOfNSettings(StrategySettings):
    """Keys of an expert of kind `best_of_n`."""

    experts: tuple[ExpertName, ...] = Field(min_length=1, description="Who answers, in turn.")
    reward: ExpertName = Field(description="The expert that scores the answers.")
    n: PositiveInt | None = Field(default=None, description="Answers; one of each expert by default.")
    parallel: PositiveInt | None = Field(default=None, description="Calls at once; all by default.")
    accept: float | None = Field(
        default=None, description="An answer with at least this reward ends the search, and other calls."
    )
    temperature: float = Field(
        default=0.8, ge=0, description="Of an expert's second and later answers, where the request sets none."
    )


class BestOfN(Composite):
    """Asks n times, scores each answer as it comes, and answers with the best."""

    def __init__(
        self, card: Card, experts: list[Expert], settings: BestOfNSettings, judge: RewardExpert
    ) -> None:
        super().__init__(card, experts, settings)
        self._own = settings
        self._judge = judge

    async def _choose(self, held: Round) -> Tried | None:
        waiting = list(range(self._own.n or len(self._experts)))
        at_once = self._own.parallel or len(waiting)
        running: set[asyncio.Task[Tried]] = set()
        try:
            while True:
                while waiting and len(running) < at_once:
                    number = waiting.pop(0)
                    expert = self._experts[number % len(self._experts)]
                    ask = held.may_ask(expert, self._changes(held, number // len(self._experts)))
                    if ask is not None:
                        running.add(asyncio.ensure_future(ask))
                    elif running:
                        # What others give back when they are settled may be enough.
                        waiting.insert(0, number)
                        break
                if not running:
                    return best(held.tried)
                done, running = await first_done(running)
                answers = [each for each in done if each.body is not None]
                if answers:
                    await held.score(self._judge, answers)
                if self._own.accept is not None and any(
                    each.reward is not None and each.reward >= self._own.accept for each in answers
                ):
                    return best(held.tried)
        finally:
            await cancel_all(list(running))

    def _changes(self, held: Round, again: int) -> Mapping[str, Any]:
        """What makes an expert's later answers differ from its first."""
        if not again:
            return {}
        body = held.request.body
        temperature = self._own.temperature if body.temperature is None else body.temperature
        return {"temperature": temperature, "seed": (body.seed or 0) + again}


def create(name: str, settings: BestOfNSettings, build: Build) -> BestOfN:
    """The plugin's factory. Raises `ConfigError` for a judge that cannot score or an unknown price."""
    experts = [build.expert(each) for each in settings.experts]
    check_prices(name, settings.caps, [expert.card for expert in experts])
    asked = [experts[number % len(experts)] for number in range(settings.n or len(experts))]
    card = build.card(composite_card(name, asked, f"The best of {len(asked)} answers"))
    return BestOfN(card, experts, settings, judge_of(name, build, settings.reward))


EXPERT: Plugin[Expert] = Plugin(BestOfNSettings, create, "Several answers, the one with the highest reward")
