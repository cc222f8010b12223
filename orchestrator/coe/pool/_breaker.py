"""When to leave a failing expert alone: a small state machine without a clock of its own."""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after `failures` failures in a row; `open_s` later lets one request try.

    Args:
        failures: failures in a row that open it.
        open_s: seconds until a trial.

    Every method takes `now`, monotonic seconds.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failures = 0
        self._opened_at: float | None = None
        self._trial_at: float | None = None

    def state(self, now: float) -> State:
        """Where it stands."""
        if self._opened_at is None:
            return "closed"
        return "half-open" if now >= self._opened_at + self._open_s else "open"

    def changes_at(self) -> float | None:
        """When an open breaker becomes half-open; None when it is closed."""
        return None if self._opened_at is None else self._opened_at + self._open_s

    def admit(self, now: float) -> bool:
        """Whether a request may be sent. In the half-open state one at a time, or one per `open_s`."""
        match self.state(now):
            case "closed":
                return True
            case "open":
                return False
            case "half-open":
                # A trial whose outcome never came back (the caller left) must not block for ever.
                if self._trial_at is not None and now < self._trial_at + self._open_s:
                    return False
                self._trial_at = now
                return True

    def success(self) -> bool:
        """Note a success. True when the state changed."""
        changed = self._opened_at is not None
        self._failures, self._opened_at, self._trial_at = 0, None, None
        return changed

    def failure(self, now: float) -> bool:
        """Note a failure. True when the state changed."""
        self._failures += 1
        if self._opened_at is not None or self._failures >= self._limit:
            self._opened_at, self._trial_at = now, None
            return True
        return False
