"""Cheap experts first; the next one only where the answer is not good enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import Field

from coe.contracts import Build, Card, Expert, ExpertName, Plugin, RewardExpert
from coe.errors import ConfigError
from coe_dmoerm.strategies._asking import Round, StrategySettings, Tried, composite_card
from coe_dmoerm.strategies._composite import Composite, judge_of
from coe_dmoerm.strategies._purse import check_prices


class CascadeSettings(StrategySettings):
    """Keys of an expert of kind `cascade`."""

    experts: tuple[ExpertName, ...] = Field(min_length=2, description="Who is asked, the cheapest first.")
    thresholds: tuple[float, ...] = Field(
        description="What an answer must reach to be taken, for each expert but the last."
    )
    reward: ExpertName | None = Field(
        default=None,
        description="The expert that scores the answers; without it, the answer's own mean token probability "
        "counts, from an expert that gives logprobs.",
    )


class Cascade(Composite):
    """Asks one after the other until an answer reaches its threshold; else the last one's answer counts."""

    def __init__(
        self, card: Card, experts: Sequence[Expert], settings: CascadeSettings, judge: RewardExpert | None
    ) -> None:
        super().__init__(card, experts, settings)
        self._thresholds = settings.thresholds
        self._judge = judge

    async def _choose(self, held: Round) -> Tried | None:
        last: Tried | None = None
        for expert, threshold in zip(self._experts, (*self._thresholds, -math.inf), strict=True):
            ask = held.may_ask(expert, None if self._judge is not None else {"logprobs": True})
            if ask is None:
                continue
            tried = await ask
            if tried.body is None:
                continue
            last = tried
            if self._judge is not None:
                await held.score(self._judge, [tried])
            else:
                tried.reward = confidence(tried.body)
            if tried.reward is not None and tried.reward >= threshold:
                return tried
        return last


def confidence(body: Mapping[str, Any]) -> float | None:
    """Geometric mean of the answer's token probabilities, 0..1; None without `logprobs`."""
    logprobs: Any = body["choices"][0].get("logprobs")
    rows: Any = logprobs.get("content") if isinstance(logprobs, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  (checked here)
    if not isinstance(rows, list) or not rows:
        return None
    values = [float(cast("Mapping[str, Any]", row)["logprob"]) for row in cast("list[Any]", rows)]
    return math.exp(sum(values) / len(values))


def create(name: str, settings: CascadeSettings, build: Build) -> Cascade:
    """The plugin's factory. Raises `ConfigError` for thresholds that do not fit, a judge or a price."""
    if len(settings.thresholds) != len(settings.experts) - 1:
        raise ConfigError(
            f"experts.{name}.thresholds holds {len(settings.thresholds)} numbers; expected "
            f"{len(settings.experts) - 1}, one for each expert but the last."
        )
    experts = [build.expert(each) for each in settings.experts]
    check_prices(name, settings.caps, [expert.card for expert in experts])
    card = build.card(composite_card(name, experts, "A cascade"))
    judge = None if settings.reward is None else judge_of(name, build, settings.reward)
    return Cascade(card, experts, settings, judge)


EXPERT: Plugin[Expert] = Plugin(
    CascadeSettings, create, "Cheap experts first, the next one where the answer is not good enough"
)
