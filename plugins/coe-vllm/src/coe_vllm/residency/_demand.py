"""How often each expert is asked, as of late."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

HALF_LIFE_S = 300.0


@dataclass(slots=True)
class Demand:
    """Requests per second by name, older ones counting half after each `half_life_s`."""

    half_life_s: float = HALF_LIFE_S
    _counts: dict[str, tuple[float, float]] = field(default_factory=dict[str, "tuple[float, float]"])

    def note(self, name: str, now_s: float) -> None:
        """One request for `name` at `now_s`, which never goes back."""
        self._counts[name] = (self._decayed(name, now_s) + 1.0, now_s)

    def rate_per_s(self, name: str, now_s: float) -> float:
        """Requests per second; 0 for a name that was never asked."""
        return self._decayed(name, now_s) * math.log(2) / self.half_life_s

    def _decayed(self, name: str, now_s: float) -> float:
        count, at_s = self._counts.get(name, (0.0, now_s))
        return count * 0.5 ** (max(0.0, now_s - at_s) / self.half_life_s)
