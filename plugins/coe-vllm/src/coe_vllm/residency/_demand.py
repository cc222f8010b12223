"""How often each expert is asked, as of late."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_HALF_LIVES_S = (30.0, 600.0)
_SHARES = (0.25, 0.75)
"""Of the rate. What was just asked comes again soon where callers hold conversations; where they do not, the
long run says more. Against one half-life of 300 s: 1 to 2 points more hits on three bursty traces, between
.1 more and .6 fewer on three of Zipf(1)."""


@dataclass(slots=True)
class Demand:
    """Requests per second by name: of the last minute and of the last half hour, older ones counting less."""

    _counts: dict[str, tuple[float, float, float]] = field(
        default_factory=dict[str, "tuple[float, float, float]"]
    )

    def note(self, name: str, now_s: float) -> None:
        """One request for `name` at `now_s`, which never goes back."""
        short, long = self._decayed(name, now_s)
        self._counts[name] = (short + 1.0, long + 1.0, now_s)

    def rate_per_s(self, name: str, now_s: float) -> float:
        """Requests per second; 0 for a name that was never asked."""
        counts = zip(_SHARES, self._decayed(name, now_s), _HALF_LIVES_S, strict=True)
        return sum(share * count * math.log(2) / half_life_s for share, count, half_life_s in counts)

    def _decayed(self, name: str, now_s: float) -> tuple[float, float]:
        short, long, at_s = self._counts.get(name, (0.0, 0.0, now_s))
        past_s = max(0.0, now_s - at_s)
        return short * 0.5 ** (past_s / _HALF_LIVES_S[0]), long * 0.5 ** (past_s / _HALF_LIVES_S[1])
