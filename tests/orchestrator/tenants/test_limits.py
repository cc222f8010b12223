"""Rates and shares against reference models."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from coe.tenants._limits import Bucket, Share, Spend, period_of, remaining, renews_on, wait_s

LIMITS = st.integers(1, 600)
STEPS = st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 20)), max_size=60)


class ExactBucket:
    """The bucket as people tell it: content that grows with time up to the brim. In fractions."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self.content = Fraction(per_minute)

    def pass_ms(self, ms: int) -> None:
        self.content = min(self.content + Fraction(ms * self.per_minute, 60_000), Fraction(self.per_minute))

    def take(self, amount: int) -> bool:
        if amount > self.content:
            return False
        self.content -= amount
        return True


@given(LIMITS, STEPS)
def test_a_bucket_does_what_the_model_does(per_minute: int, steps: list[tuple[int, int]]) -> None:
    bucket, exact, now_ms = Bucket(), ExactBucket(per_minute), 0
    for pause_ms, amount in steps:
        now_ms += pause_ms
        exact.pass_ms(pause_ms)
        now = now_ms / 1000
        before = exact.content
        # At the very edge a float may fall to either side.
        if abs(before - amount) > Fraction(1, 1000):
            assert bucket.take(now, amount, per_minute) == exact.take(amount)
        assert abs(bucket.used_s(now) - float((per_minute - exact.content) * 60 / per_minute)) < 1e-3


@given(LIMITS, STEPS)
def test_no_window_admits_more_than_the_limit_and_one_bucket(
    per_minute: int, steps: list[tuple[int, int]]
) -> None:
    bucket, now_ms = Bucket(), 0
    taken: list[tuple[int, int]] = []
    for pause_ms, amount in steps:
        now_ms += pause_ms
        if bucket.take(now_ms / 1000, amount, per_minute):
            taken.append((now_ms, amount))
    for first, (start_ms, _) in enumerate(taken):
        total = 0
        for at_ms, amount in taken[first:]:
            total += amount
            assert total <= per_minute * (1 + (at_ms - start_ms) / 60_000) + 1e-3


@given(LIMITS, st.integers(1, 600), st.integers(0, 120_000))
def test_after_the_wait_there_is_room_and_not_before(per_minute: int, amount: int, drained_ms: int) -> None:
    bucket = Bucket(full_at=drained_ms / 1000)
    wait = wait_s(bucket.used_s(0), amount, per_minute)
    if amount > per_minute:
        assert not bucket.take(1e9, amount, per_minute)
    elif wait > 0:
        assert not bucket.take(wait - 1e-3, amount, per_minute) or wait < 1e-3
        assert bucket.take(wait + 1e-6, amount, per_minute)
    else:
        assert bucket.take(0, amount, per_minute)


def test_what_is_given_back_is_there_again_but_no_more_than_full() -> None:
    bucket = Bucket()
    assert bucket.take(0, 60, 60)
    assert not bucket.take(0, 1, 60)
    bucket.correct(0, -2, 60)
    assert remaining(bucket.used_s(0), 60) == 2
    assert bucket.take(0, 2, 60)
    bucket.correct(0, -500, 60)
    assert remaining(bucket.used_s(0), 60) == 60
    assert not bucket.take(0, 61, 60)


def test_what_is_charged_afterwards_may_overdraw() -> None:
    bucket = Bucket()
    bucket.correct(0, 90, 60)
    assert remaining(bucket.used_s(0), 60) == 0
    assert wait_s(bucket.used_s(0), 1, 60) == 31
    assert not bucket.take(30.9, 1, 60)
    assert bucket.take(31.1, 1, 60)


@given(st.integers(1, 8), st.integers(8, 20), st.lists(st.booleans(), max_size=200))
def test_no_window_of_requests_has_more_strong_ones(most: int, window: int, wishes: list[bool]) -> None:
    share = Share()
    given_to: list[bool] = []
    for wish in wishes:
        share.count()
        strong = wish and share.room(most, window)
        if strong:
            share.give()
        given_to.append(strong)
        # A wish is refused only when the share is really used up.
        assert strong == (wish and sum(given_to[-window:-1]) < most)
    for end in range(len(given_to)):
        assert sum(given_to[max(0, end - window + 1) : end + 1]) <= most


def test_periods_are_calendar_days_and_months_in_utc() -> None:
    last_second = 1_772_323_199.9  # 2026-02-28 23:59:59.9
    assert (period_of(last_second, "day"), period_of(last_second, "month")) == ("2026-02-28", "2026-02")
    assert (period_of(last_second + 0.2, "day"), period_of(last_second + 0.2, "month")) == (
        "2026-03-01",
        "2026-03",
    )
    assert (renews_on(last_second, "day"), renews_on(last_second, "month")) == ("2026-03-01", "2026-03-01")
    assert renews_on(last_second + 32 * 86_400, "month") == "2026-05-01"


def test_a_new_period_begins_with_nothing_spent() -> None:
    spend = Spend("2026-02", own=3, others=4)
    spend.enter("2026-02")
    assert spend.total == 7
    spend.enter("2026-03")
    assert spend.total == 0
