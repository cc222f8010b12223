"""Several experts answer; answers that say the same add up their weights.

Who is asked (`select`) and how much a vote counts (`weights`, `by_reward`) are set apart: a cheap expert may
be asked always and count little.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pydantic import Field, PositiveFloat, PositiveInt

from coe.contracts import Build, Card, Expert, ExpertName, Plugin, RewardExpert
from coe.errors import ConfigError
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

_FINAL = re.compile(r"\"answer\"\s*:\s*\"?([^\"\n}]+)|\\boxed\{([^{}]+)\}|####\s*(.+)")


class EnsembleSettings(StrategySettings):
    """Keys of an expert of kind `ensemble`."""

    experts: tuple[ExpertName, ...] = Field(min_length=2, description="Who may be asked, in order.")
    select: PositiveInt | None = Field(
        default=None, description="How many of them are asked: the first that the caps allow; all by default."
    )
    weights: dict[ExpertName, PositiveFloat] = Field(
        default_factory=dict, description="What a vote counts; 1 where nothing is said."
    )
    reward: ExpertName | None = Field(default=None, description="The expert that scores the answers.")
    by_reward: float = Field(
        default=0,
        ge=0,
        description="Votes are multiplied by exp(by_reward · reward); 0 leaves them as they are.",
    )


class Ensemble(Composite):
    """Asks its experts at once; the heaviest group of equal answers wins, its best member is the answer."""

    def __init__(
        self,
        card: Card,
        experts: Sequence[Expert],
        settings: EnsembleSettings,
        judge: RewardExpert | None,
    ) -> None:
        super().__init__(card, experts, settings)
        self._own = settings
        self._judge = judge

    async def _choose(self, held: Round) -> Tried | None:
        running: set[asyncio.Task[Tried]] = set()
        wanted = self._own.select or len(self._experts)
        try:
            for expert in self._experts:
                if len(running) == wanted:
                    break
                ask = held.may_ask(expert)
                if ask is not None:
                    running.add(asyncio.ensure_future(ask))
            while running:
                _, running = await first_done(running)
        finally:
            await cancel_all(list(running))
        came = [each for each in held.tried if each.body is not None]
        if came and self._judge is not None:
            await held.score(self._judge, came)
        return heaviest(came, self._own.weights, self._own.by_reward)


def heaviest(answers: Sequence[Tried], weights: Mapping[str, float], by_reward: float) -> Tried | None:
    """The best answer of the group whose votes weigh most; of equal groups, the one that came first."""
    groups: dict[str, list[Tried]] = defaultdict(list)
    for each in answers:
        groups[final_of(each.text)].append(each)
    rewards = [each.reward for each in answers if each.reward is not None]
    top = max(rewards, default=0.0)  # only differences count, and no vote overflows

    def vote(each: Tried) -> float:
        reward = top if each.reward is None else each.reward
        return weights.get(each.expert, 1.0) * math.exp(by_reward * (reward - top))

    group = max(groups.values(), key=lambda members: sum(map(vote, members)), default=None)
    return None if group is None else best(group)


def final_of(text: str) -> str:
    """What an answer comes to: its marked final answer, else its words."""
    marked = _FINAL.findall(text)
    final = next((part for part in marked[-1] if part), text) if marked else text
    return " ".join(re.findall(r"[\w.\-+/]+", final.lower())).strip(" .")


def create(name: str, settings: EnsembleSettings, build: Build) -> Ensemble:
    """The plugin's factory. Raises `ConfigError` for weights, a judge or a price that do not fit."""
    strangers = sorted(settings.weights.keys() - set(settings.experts))
    if strangers:
        raise ConfigError(f"experts.{name}.weights: `{strangers[0]}` is not among the experts.")
    experts = [build.expert(each) for each in settings.experts]
    check_prices(name, settings.caps, [expert.card for expert in experts])
    card = build.card(composite_card(name, experts, "An ensemble"))
    judge = None if settings.reward is None else judge_of(name, build, settings.reward)
    return Ensemble(card, experts, settings, judge)


EXPERT: Plugin[Expert] = Plugin(
    EnsembleSettings, create, "Several experts answer; answers that say the same add up their weights"
)
