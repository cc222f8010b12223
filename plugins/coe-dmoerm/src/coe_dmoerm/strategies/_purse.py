"""What one request may still spend. A call is reserved at its worst and settled after it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from coe.contracts import Card
from coe.errors import ConfigError
from coe.wire import Usage


class Caps(BaseModel):
    """Hard limits of one request. A call that might pass one of them is not made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: PositiveInt | None = Field(default=None, description="Calls of answering experts.")
    tokens: PositiveInt | None = Field(default=None, description="Tokens of prompts and completions.")
    usd: NonNegativeFloat | None = Field(default=None, description="US dollars, at the experts' prices.")


@dataclass(frozen=True, slots=True)
class Held:
    """What is set aside for one call."""

    tokens: int
    usd: float


class Purse:
    """Counts calls, tokens and money of one request.

    Args:
        caps: its limits.
    """

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self.calls = 0
        self.tokens = 0
        self.usd = 0.0

    def reserve(self, card: Card, prompt_bytes: int, completion_tokens: int) -> Held | None:
        """Set aside the most that a call can take; None when that is more than is left.

        A prompt has at most one token per byte, and a few for each message's frame.
        """
        tokens = prompt_bytes + completion_tokens
        usd = call_usd(card, prompt_bytes, completion_tokens) or 0.0
        caps = self._caps
        if (
            (caps.calls is not None and self.calls + 1 > caps.calls)
            or (caps.tokens is not None and self.tokens + tokens > caps.tokens)
            or (caps.usd is not None and self.usd + usd > caps.usd)
        ):
            return None
        self.calls += 1
        self.tokens += tokens
        self.usd += usd
        return Held(tokens, usd)

    def settle(self, held: Held, usage: Usage | None, cost_usd: float | None) -> None:
        """Give back what a call did not take. What is not known stays taken, and so does a failed call's."""
        if usage is not None:
            self.tokens += usage.prompt_tokens + usage.completion_tokens - held.tokens
        if cost_usd is not None:
            self.usd += cost_usd - held.usd


def call_usd(card: Card, prompt_tokens: int, completion_tokens: int) -> float | None:
    """A call's price by the card; None when the card has none, 0 for an expert on this machine."""
    inward, outward = card.input_usd_per_mtok, card.output_usd_per_mtok
    if inward is None and outward is None:
        return 0.0 if card.locality == "local" else None
    return (prompt_tokens * (inward or 0.0) + completion_tokens * (outward or 0.0)) / 1e6


def check_prices(name: str, caps: Caps, cards: list[Card]) -> None:
    """Refuse a limit in dollars over an expert whose price nobody knows. Raises `ConfigError`."""
    if caps.usd is None:
        return
    for card in cards:
        if call_usd(card, 1, 1) is None:
            raise ConfigError(
                f"experts.{name}.caps.usd: `{card.name}` has no price.",
                hint="Write input_usd_per_mtok and output_usd_per_mtok in its card.",
            )
