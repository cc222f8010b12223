"""How many requests may be sent to another expert after one has failed."""

from __future__ import annotations

SAVED = 100.0
"""Retries that good times can save up for bad ones."""
BURST_S = 10.0


class RetryBudget:
    """A part of the requests, and a few per second in any case.

    When an expert fails that everybody asks, retries would multiply the load just where it hurts. With this,
    they add `ratio` to it at most, once what good times have saved is used up.

    Args:
        ratio: retries that each request earns, 0 to 1.
        per_s: retries per second besides; ten seconds' worth may come at once.

    Attributes:
        denied: retries that there was no budget for.
    """

    def __init__(self, ratio: float, per_s: float) -> None:
        self._ratio = ratio
        self._per_s = per_s
        self._earned = 0.0
        self._free = per_s * BURST_S
        self._at = 0.0
        self.denied = 0

    def request(self) -> None:
        """A request has come."""
        self._earned = min(SAVED, self._earned + self._ratio)

    def retry(self, now: float) -> bool:
        """Take one retry, if there is one. `now` is in monotonic seconds."""
        self._free = min(self._per_s * BURST_S, self._free + (now - self._at) * self._per_s)
        self._at = now
        if self._free >= 1:
            self._free -= 1
        elif self._earned >= 1:
            self._earned -= 1
        else:
            self.denied += 1
            return False
        return True
