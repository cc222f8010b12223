"""When to leave a failing store alone. A small state machine without a clock of its own."""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after failures in a row; once its time is over, lets a single probe through.

    Args:
        failures: failures in a row that open it.
        open_s: seconds that it stays open before a probe.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failed = 0
        self._probe_at = 0.0
        self.state: State = "closed"

    def allow(self, now: float) -> bool:
        """Whether to try at `now`, in seconds. True while half open means: this one is the probe."""
        if self.state == "closed":
            return True
        if self.state == "open" and now >= self._probe_at:
            self.state = "half_open"
            return True
        return False

    def success(self) -> bool:
        """A try went well. Returns whether this closed the breaker."""
        closes = self.state != "closed"
        self.state = "closed"
        self._failed = 0
        return closes

    def failure(self, now: float) -> bool:
        """A try failed at `now`, in seconds. Returns whether this opened a closed breaker."""
        self._failed += 1
        opens = self.state == "closed" and self._failed >= self._limit
        if opens or self.state == "half_open":
            self.state = "open"
            self._probe_at = now + self._open_s
        return opens
