"""A clock that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Seconds that pass only by `advance`. Pass it wherever a clock is asked for.

    Args:
        now: what it shows at first, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """The time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises `ValueError` for going back: what coe reads is monotonic."""
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-seconds} s")
        self._now += seconds
