"""How much of what is left: rates, money, shares. Small state machines without a clock of their own.

The same arithmetic is done by Redis for all replicas together: see _scripts.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

MINUTE_S = 60.0
ROUNDING_S = 1e-6
"""A wait that is shorter comes from floats, or from Redis's clock, which counts microseconds."""
NANO = 1_000_000_000
"""Money is counted in whole billionths of a USD: sums of floats drift, and prices are per million tokens."""


@dataclass(slots=True)
class Bucket:
    """A limit per minute, as a bucket of one minute's worth that refills steadily.

    It is kept as the time when the bucket will be full again (the generic cell rate algorithm), so nothing
    needs to be done as time passes. Within any t seconds at most `per_minute` × (1 + t / 60) are taken.

    Attributes:
        full_at: monotonic seconds; in the past when the bucket is full.
    """

    full_at: float = 0.0

    def used_s(self, now: float) -> float:
        """What is missing in the bucket, as seconds of refill. More than a minute when it is overdrawn."""
        return max(self.full_at - now, 0.0)

    def take(self, now: float, amount: int, per_minute: int) -> bool:
        """Take the amount if it is there."""
        if wait_s(self.used_s(now), amount, per_minute) > ROUNDING_S:
            return False
        self.correct(now, amount, per_minute)
        return True

    def correct(self, now: float, amount: int, per_minute: int) -> None:
        """Take the amount, or give it back when it is negative, whether it is there or not."""
        self.full_at = max(self.full_at, now) + amount * MINUTE_S / per_minute


def wait_s(used_s: float, amount: int, per_minute: int) -> float:
    """Seconds until the amount is there; not above 0 when it is. More than `per_minute` never is."""
    return used_s + amount * MINUTE_S / per_minute - MINUTE_S


def remaining(used_s: float, per_minute: int) -> int:
    """What is in the bucket, in whole units."""
    # What a float lost in the division is no whole unit less.
    return max(int((MINUTE_S - used_s) * per_minute / MINUTE_S + 1e-6), 0)


Per = Literal["day", "month"]


def period_of(wall_s: float, per: Per) -> str:
    """The calendar day or month (UTC) of a time in seconds since 1970: `2026-03-09`, `2026-03`."""
    return _period_of_hour(int(wall_s // 3600), per)


@lru_cache(maxsize=8)
def _period_of_hour(hour: int, per: Per) -> str:
    # Asked several times a request, and formatting a date costs as much as all the rest.
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%d" if per == "day" else "%Y-%m")


def renews_on(wall_s: float, per: Per) -> str:
    """The day when the next period begins."""
    today = datetime.fromtimestamp(wall_s, UTC)
    if per == "day":
        return (today + timedelta(days=1)).strftime("%Y-%m-%d")
    return (today.replace(day=1) + timedelta(days=32)).strftime("%Y-%m-01")


@dataclass(slots=True)
class Spend:
    """What a tenant has spent in the current period, in nano-USD, reservations included.

    Every replica counts its own spending and publishes the sum; the tenant's is the sum of all sums. So what
    is published twice, or late, or after Redis has forgotten everything, is still right.

    Attributes:
        period: see `period_of`.
        own: spent through this process.
        others: spent through other replicas, as last heard.
    """

    period: str = ""
    own: int = 0
    others: int = 0

    def enter(self, period: str) -> None:
        """Go on in this period; a new one begins with nothing spent."""
        if period != self.period:
            self.period, self.own, self.others = period, 0, 0

    @property
    def total(self) -> int:
        """Spent by all."""
        return self.own + self.others


@dataclass(slots=True)
class Share:
    """Which of the last requests strong experts answered.

    A request may be given to a strong expert while fewer than `most` of the last `window` were: of any
    `window` successive requests at most `most` are, exactly.

    Attributes:
        requests: counted so far.
        given: numbers of the requests that strong experts got, oldest first.
    """

    requests: int = 0
    given: deque[int] = field(default_factory=deque[int])

    def count(self) -> None:
        """One more request."""
        self.requests += 1

    def room(self, most: int, window: int) -> bool:
        """Whether the latest request may go to a strong expert."""
        while self.given and self.given[0] <= self.requests - window:
            self.given.popleft()
        return len(self.given) < most

    def give(self) -> None:
        """The latest request goes to a strong expert."""
        self.given.append(self.requests)
