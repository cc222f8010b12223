"""What is left of the limits per minute, in the words of OpenAI's API."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coe.errors import RateLimited
from coe.tenants._limits import ROUNDING_S, remaining, wait_s


@dataclass(slots=True)
class Levels:
    """Both limits as one request finds them.

    Attributes:
        requests_per_minute, tokens_per_minute: the limits; 0 for none.
        requests_s, tokens_s: what is missing in the buckets before the request, as seconds of refill.
        tokens: what the request takes.
    """

    requests_per_minute: int
    tokens_per_minute: int
    requests_s: float
    tokens_s: float
    tokens: int

    def admit(self) -> bool:
        """Whether there is room for the request."""
        requests, tokens = self.requests_per_minute, self.tokens_per_minute
        return not (
            (requests and wait_s(self.requests_s, 1, requests) > ROUNDING_S)
            or (tokens and wait_s(self.tokens_s, self.tokens, tokens) > ROUNDING_S)
        )

    def refusal(self) -> RateLimited:
        """The error for a request that there is no room for."""
        seconds, what, amount, per_minute = self._longest_wait()
        limits = self.headers(admitted=False)
        if amount > per_minute:
            return RateLimited(
                f"The request needs about {amount} tokens; the limit is {per_minute} a minute.",
                limits=limits,
                hint="Send less text, or ask for fewer tokens with `max_tokens`.",
            )
        # What Redis rounded down is no reason to come back too early.
        seconds = max(seconds, 0.001)
        return RateLimited(
            f"The limit of {per_minute} {what} a minute is reached. Try again in {_duration(seconds)}.",
            retry_after_s=seconds,
            limits=limits,
        )

    def headers(self, *, admitted: bool) -> dict[str, str]:
        """`x-ratelimit-*`: the limits, what remains, and when they are whole again."""
        found: dict[str, str] = {}
        for what, per_minute, used_s, amount in self._rows():
            if per_minute:
                after_s = used_s + amount * 60 / per_minute if admitted else used_s
                found[f"x-ratelimit-limit-{what}"] = str(per_minute)
                found[f"x-ratelimit-remaining-{what}"] = str(remaining(after_s, per_minute))
                found[f"x-ratelimit-reset-{what}"] = _duration(after_s)
        return found

    def _rows(self) -> tuple[tuple[str, int, float, int], ...]:
        return (
            ("requests", self.requests_per_minute, self.requests_s, 1),
            ("tokens", self.tokens_per_minute, self.tokens_s, self.tokens),
        )

    def _longest_wait(self) -> tuple[float, str, int, int]:
        """Seconds to wait, not above 0 when there is room; for what, how much is wanted, and the limit."""
        waits = [
            (wait_s(used_s, amount, per_minute), what, amount, per_minute)
            for what, per_minute, used_s, amount in self._rows()
            if per_minute
        ]
        return max(waits, default=(0.0, "", 0, 0))


def _duration(seconds: float) -> str:
    """As OpenAI writes it: `20ms`, `1s`, `6m0s`; rounded up."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
