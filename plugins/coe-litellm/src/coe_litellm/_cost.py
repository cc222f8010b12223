"""What a call cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coe.contracts import Card
from coe.wire import Usage
from coe_litellm._library import Sdk
from coe_litellm._prices import Facts

_MTOK = 1_000_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """How the cost of a call is found.

    Attributes:
        facts: litellm's, when its price map is to be asked: it knows what cached, reasoning and long-context
            tokens cost.
        card: the card, whose prices count when the user gave them or the map does not know the model.
    """

    card: Card
    facts: Facts | None

    @classmethod
    def of(cls, card: Card, facts: Facts | None) -> Tariff:
        """The tariff of an expert whose card, with the user's keys laid over it, is `card`."""
        return cls(card, facts if facts is not None and _prices_untouched(card, facts) else None)

    def cost_usd(self, sdk: Sdk, usage: Usage, litellm_usage: Any, service_tier: str | None) -> float | None:
        """USD of one call, or None when nobody knows the prices.

        Args:
            sdk: litellm.
            usage: tokens of the call.
            litellm_usage: the same as litellm's own object, with the kinds of tokens told apart.
            service_tier: what the provider says it served the call with.
        """
        if self.facts is not None:
            prompt, completion = sdk.cost_per_token(
                model=self.facts.key,
                custom_llm_provider=self.facts.provider,
                usage_object=litellm_usage,
                service_tier=service_tier,
            )
            return prompt + completion
        price_in, price_out = self.card.input_usd_per_mtok, self.card.output_usd_per_mtok
        if price_in is None or price_out is None:
            return None
        return (usage.prompt_tokens * price_in + usage.completion_tokens * price_out) / _MTOK


def _prices_untouched(card: Card, facts: Facts) -> bool:
    mine = (card.input_usd_per_mtok, card.output_usd_per_mtok)
    return None not in mine and mine == (facts.input_usd_per_mtok, facts.output_usd_per_mtok)
