"""What metrics tell of tenants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counted since the start, for all tenants of one policy together.

    Attributes:
        requests: that came with a valid key.
        rate_limited: refused for want of requests or tokens a minute.
        budget_exceeded: refused for want of money or of the share of strong experts.
        stepped_down: that some expert could not be asked for, for the same want, and others could.
        estimated: answers whose tokens were estimated, because the expert reported none.
        prompt_tokens, completion_tokens: of answers.
        spent_nano: what answers cost, in nano-USD.
    """

    requests: int = 0
    rate_limited: int = 0
    budget_exceeded: int = 0
    stepped_down: int = 0
    estimated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spent_nano: int = 0
