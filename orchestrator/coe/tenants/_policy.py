"""A tenant's policy, made ready for use."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from coe.config import BudgetConfig, PolicyConfig
from coe.contracts import Card
from coe.tenants._limits import NANO, Per

_MTOK = 1_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant may do. Whatever is None is not limited.

    Attributes:
        label: its name in metrics and configuration: the tenant's, or `default`.
        models: names that may stand in `model`.
        experts: who may answer.
        requests_per_minute, tokens_per_minute: limits, 0 for none.
        budget: nano-USD per `per`.
        strong: experts that count for the share.
        most_strong, window: at most so many of so many successive requests.
        saving_below: with less than this left, in nano-USD, only the cheapest experts are asked.
        step_down: whether a cheaper expert answers when a better one is beyond the limits.
    """

    label: str
    models: Collection[str] | None
    experts: frozenset[str] | None
    requests_per_minute: int
    tokens_per_minute: int
    budget: int | None
    per: Per
    strong: frozenset[str]
    most_strong: int
    window: int
    step_down: bool
    saving_below: int | None = None

    @property
    def strong_limit(self) -> int:
        """`most_strong`, or -1 when no expert counts as strong."""
        return self.most_strong if self.strong else -1


def policy_of(label: str, config: PolicyConfig, routers: Collection[str]) -> Policy:
    """The policy of a configuration.

    Without `models`, a tenant may ask for every router and for the experts that it is allowed.
    """
    models = config.models
    if config.experts is not None:
        named = models if models is not None else frozenset(routers) | config.experts
        models = frozenset(each for each in named if each in routers or each in config.experts)
    budget, strong = config.budget_usd, config.strong_share
    return Policy(
        label=label,
        models=models,
        experts=config.experts,
        requests_per_minute=config.requests_per_minute or 0,
        tokens_per_minute=config.tokens_per_minute or 0,
        budget=round(budget.amount * NANO) if budget else None,
        per=budget.per if budget else "month",
        strong=frozenset(strong.experts) if strong else frozenset(),
        # A share of 0.29 of 100 is 28.999…: what a float lost is no request less.
        most_strong=int(strong.max_share * strong.window + 1e-6) if strong else 0,
        window=strong.window if strong else 0,
        step_down=config.step_down,
        saving_below=_saving_below(budget) if budget and config.step_down else None,
    )


def _saving_below(budget: BudgetConfig) -> int | None:
    if budget.step_down_at is None:
        return None
    return round(budget.amount * NANO * (1 - budget.step_down_at))


def cost_nano(card: Card, prompt_tokens: int, completion_tokens: int) -> int | None:
    """What tokens cost by the card's prices, in nano-USD, rounded up; None when a price is not known.

    An expert on this machine is free when its card says nothing else.
    """
    inward, outward = card.input_usd_per_mtok, card.output_usd_per_mtok
    # What is only read needs no price for what is written: embeddings, scores.
    if inward is None or (outward is None and completion_tokens):
        if card.locality != "local" or (inward, outward) != (None, None):
            return None
        return 0
    return math.ceil((prompt_tokens * inward + completion_tokens * (outward or 0)) * NANO / _MTOK)
