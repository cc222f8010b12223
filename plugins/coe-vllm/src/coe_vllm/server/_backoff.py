"""How long to leave a server alone that keeps dying."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 1.0
LONGEST_S = 60.0
STABLE_S = 120.0
"""A server that served this long is healthy: its next crash counts as the first."""


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row: 1 s, 2 s, 4 s … up to `LONGEST_S` between starts."""

    failures: int = 0
    not_before_s: float = 0.0

    def failed(self, now_s: float, *, served_s: float = 0.0) -> None:
        """Note a crash or a failed start at `now_s`, after `served_s` seconds of service."""
        self.failures = 1 if served_s >= STABLE_S else self.failures + 1
        self.not_before_s = now_s + min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures - 1, 10))

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next attempt is due; 0 when it is."""
        return max(0.0, self.not_before_s - now_s)
