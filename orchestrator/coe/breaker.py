"""When to leave something that keeps failing alone: a small state machine without a clock of its own."""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after failures in a row; once its time is over, lets a single trial through.

    Args:
        failures: failures in a row that open it.
        open_s: seconds that it stays open before a trial.

    `now` is monotonic seconds everywhere.
    """

    __slots__ = ("_failed", "_limit", "_open_s", "_opened_at", "_trial_at")

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failed = 0
        self._opened_at: float | None = None
        self._trial_at: float | None = None

    def state(self, now: float) -> State:
        """Where it stands."""
        if self._opened_at is None:
            return "closed"
        return "half-open" if now >= self._opened_at + self._open_s else "open"

    def changes_at(self) -> float | None:
        """When a trial becomes possible; None while it is closed."""
        return None if self._opened_at is None else self._opened_at + self._open_s

    def admit(self, now: float) -> bool:
        """Whether to try. Half open, one trial at a time: True means that this is the one."""
        if self._opened_at is None:
            return True
        if now < self._opened_at + self._open_s:
            return False
        # A trial whose outcome never came back (its caller left) must not block for ever.
        if self._trial_at is not None and now < self._trial_at + self._open_s:
            return False
        self._trial_at = now
        return True

    def success(self) -> bool:
        """A try went well. Returns whether this closed the breaker."""
        closes = self._opened_at is not None
        self._failed, self._opened_at, self._trial_at = 0, None, None
        return closes

    def failure(self, now: float) -> bool:
        """A try failed. Returns whether this opened a closed breaker.

        Failures of what was under way when it opened do not put the trial off.
        """
        self._failed += 1
        opens = self._opened_at is None and self._failed >= self._limit
        if opens or self._trial_at is not None:
            self._opened_at, self._trial_at = now, None
        return opens
