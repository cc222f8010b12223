"""What one tenant has used: here, and through Redis by all replicas together.

The limits of this process are kept always, those of all replicas where Redis answers in time. So when Redis
is away, what has been used through this process still counts, and each replica limits on its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coe.contracts import Card
from coe.errors import BudgetExceeded
from coe.tenants._levels import Levels
from coe.tenants._limits import NANO, Bucket, Share, Spend, period_of, renews_on
from coe.tenants._policy import Policy
from coe.tenants._scripts import ADMIT, ENTER, SETTLE

if TYPE_CHECKING:
    from coe.tenants._shared import SharedLimits

UNPRICED = "has no price, and the tenant has a budget: set its prices, 0 where it is free"
"""Why an expert is not asked when money is counted."""
_KEEP_S = {"day": 2 * 86_400, "month": 33 * 86_400}
"""How long Redis keeps what was spent in a period: until it is over for sure."""


@dataclass(slots=True)
class Used:
    """What a tenant has used through this process. It outlives a change of policy."""

    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    spend: Spend = field(default_factory=Spend)
    share: Share = field(default_factory=Share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the accounts of a process have in common.

    Attributes:
        clock: monotonic seconds.
        wall: seconds since 1970, for calendar days and months.
        replica: a name that no other process has.
        shared: limits of all replicas, if there are any.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    replica: str
    shared: SharedLimits | None


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for one call, in nano-USD of a period."""

    period: str
    nano: int


class Account:
    """One tenant under one policy.

    Args:
        tenant: whose it is.
        policy: its limits.
        used: what it has used so far.
        surroundings: clocks, and the other replicas.

    Attributes:
        reserves: whether anything is to be reserved before an expert is asked.
    """

    def __init__(self, tenant: str, policy: Policy, used: Used, surroundings: Surroundings) -> None:
        self.policy = policy
        self._used = used
        self._clock = surroundings.clock
        self._wall = surroundings.wall
        self._replica = surroundings.replica
        self._shared = surroundings.shared
        self._prefix = f"coe:tenant:{tenant}:"
        self._enters = bool(policy.requests_per_minute or policy.tokens_per_minute or policy.strong)
        self.reserves = policy.budget is not None or bool(policy.strong)
        self._bucket_keys = [self._prefix + "requests", self._prefix + "tokens"]
        self._share_keys = [self._prefix + "count", self._prefix + "strong"]

    async def enter(self, tokens: int) -> tuple[Levels | None, bool]:
        """A request of so many tokens comes.

        Returns:
            The limits per minute as the request found them, and whether a strong expert may answer it.

        Raises:
            RateLimited: there is no room for it.
        """
        if not self._enters:
            return None, True
        policy, used, now = self.policy, self._used, self._clock()
        levels = self._levels(used.requests.used_s(now), used.tokens.used_s(now), tokens)
        # What this process alone has used up need not be asked for: a flood does not reach Redis.
        if not levels.admit():
            raise levels.refusal()
        self._take(now, 1, tokens)
        answer = await self._ask_enter(self._shared, tokens) if self._shared is not None else None
        if answer is not None:
            admitted, requests_us, tokens_us, _ = answer
            levels = self._levels(requests_us / 1e6, tokens_us / 1e6, tokens)
            if not admitted:
                self._take(self._clock(), -1, -tokens)
                raise levels.refusal()
        if not policy.strong:
            return levels, True
        used.share.count()
        room = used.share.room(policy.most_strong, policy.window)
        return levels, room if answer is None else bool(answer[3])

    def left(self) -> int | None:
        """Nano-USD left of the budget, as far as this process knows; None without a budget."""
        if self.policy.budget is None:
            return None
        self._used.spend.enter(period_of(self._wall(), self.policy.per))
        return self.policy.budget - self._used.spend.total

    async def reserve(self, card: Card, nano: int | None, *, strong: bool) -> Reservation | BudgetExceeded:
        """Set money aside for a call, and the request's part of the share of strong experts.

        Args:
            card: of the expert that is to be asked.
            nano: what the call may cost, in nano-USD; None when nobody knows.
            strong: whether the call takes a part of the share.

        Returns:
            The reservation, or why there is none.
        """
        policy, spend, left = self.policy, self._used.spend, self.left()
        if left is None:
            nano = 0
        elif nano is None:
            return self.over_budget(f"`{card.name}` {UNPRICED}")
        elif nano > max(left, 0):
            return self.over_budget(f"`{card.name}` {too_dear(nano, left)}")
        reservation = Reservation(spend.period, nano)
        if not nano and not strong:
            return reservation
        spend.own += nano
        try:
            verdict = await self._ask_admit(nano, strong=strong)
        except asyncio.CancelledError:
            self._correct(reservation, 0)
            raise
        if verdict is None:
            room = not strong or self._used.share.room(policy.most_strong, policy.window)
            verdict = 1 if room else -1
        if verdict == 1:
            if strong:
                self._used.share.give()
            return reservation
        self._correct(reservation, 0)
        if verdict == 0:
            return self.over_budget(f"`{card.name}` {too_dear(nano, self.left() or 0)}")
        return self.over_share(f"`{card.name}` {self.too_strong()}")

    def settle(self, reservation: Reservation | None, nano: int | None, more_tokens: int) -> None:
        """A call is over.

        Args:
            reservation: what was set aside for it.
            nano: what it has cost, in nano-USD; None when nobody knows, and it is reckoned as reserved.
            more_tokens: tokens beyond those that the request entered with; negative when they were fewer.
        """
        policy = self.policy
        tokens = more_tokens if policy.tokens_per_minute else 0
        if tokens:
            self._used.tokens.correct(self._clock(), tokens, policy.tokens_per_minute)
        money = reservation is not None and policy.budget is not None
        if money and reservation is not None and nano is not None:
            self._correct(reservation, nano)
        if self._shared is not None and (tokens or money):
            self._shared.tell(
                SETTLE,
                [self._bucket_keys[1], self._spend_key()],
                [
                    policy.tokens_per_minute,
                    tokens,
                    self._replica,
                    self._used.spend.own if money else -1,
                    _KEEP_S[policy.per],
                ],
            )

    # --- what to say

    def over_budget(self, detail: str) -> BudgetExceeded:
        """The error for money that is not there."""
        amount, per = (self.policy.budget or 0) / NANO, self.policy.per
        return BudgetExceeded(
            f"The budget of {amount:g} USD a {per} does not pay for this request: {detail}.",
            hint=f"It renews on {renews_on(self._wall(), per)} (UTC).",
        )

    def over_share(self, detail: str) -> BudgetExceeded:
        """The error for strong experts that have answered enough."""
        return BudgetExceeded(
            f"The share of strong experts is used up: {detail}.",
            hint="Ask for a virtual model that has other experts too, or again later.",
        )

    def too_strong(self) -> str:
        """Why an expert is beyond the share."""
        return f"is strong, and {self.policy.most_strong} of the last {self.policy.window} requests were too"

    # --- inside

    def _levels(self, requests_s: float, tokens_s: float, tokens: int) -> Levels:
        policy = self.policy
        return Levels(policy.requests_per_minute, policy.tokens_per_minute, requests_s, tokens_s, tokens)

    def _take(self, now: float, requests: int, tokens: int) -> None:
        policy, used = self.policy, self._used
        if policy.requests_per_minute:
            used.requests.correct(now, requests, policy.requests_per_minute)
        if policy.tokens_per_minute:
            used.tokens.correct(now, tokens, policy.tokens_per_minute)

    async def _ask_enter(self, shared: SharedLimits, tokens: int) -> list[int] | None:
        policy = self.policy
        limits = [policy.requests_per_minute, policy.tokens_per_minute, tokens]
        share = [policy.strong_limit, policy.window]
        return await shared.ask(ENTER, [*self._bucket_keys, *self._share_keys], [*limits, *share])

    async def _ask_admit(self, nano: int, *, strong: bool) -> int | None:
        """1: admitted, 0: no money, -1: no share, None: Redis does not say."""
        if self._shared is None:
            return None
        policy, spend = self.policy, self._used.spend
        period = spend.period
        budget = -1 if policy.budget is None else policy.budget
        money = [self._replica, spend.own, nano, budget, _KEEP_S[policy.per]]
        share = [policy.strong_limit if strong else -1, policy.window]
        answer = await self._shared.ask(ADMIT, [self._spend_key(), *self._share_keys], [*money, *share])
        if answer is None:
            return None
        verdict, others = answer
        if policy.budget is not None and period == spend.period:
            spend.others = others
        return verdict

    def _correct(self, reservation: Reservation, nano: int) -> None:
        spend = self._used.spend
        # What was reserved in a period that is over stays there: it is closed.
        if reservation.period == spend.period:
            spend.own += nano - reservation.nano

    def _spend_key(self) -> str:
        return f"{self._prefix}usd:{self._used.spend.period}"


def too_dear(nano: int, left: int) -> str:
    """Why an expert is beyond the budget."""
    return f"may cost {nano / NANO:.6f} USD, and {max(left, 0) / NANO:.6f} USD are left"
