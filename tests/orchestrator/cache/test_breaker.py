"""The breaker, step by step and at random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.cache._breaker import Breaker


def test_failures_in_a_row_open_it_and_one_probe_closes_it():
    breaker = Breaker(failures=3, open_s=10)
    assert [breaker.failure(0), breaker.failure(0), breaker.success()] == [False, False, False]
    assert [breaker.failure(0), breaker.failure(0), breaker.failure(0)] == [False, False, True]
    assert breaker.state == "open"
    assert not breaker.allow(9.9)
    assert breaker.allow(10)
    assert breaker.state == "half_open"
    assert not breaker.allow(10), "a single probe"
    assert breaker.success()
    assert breaker.state == "closed"
    assert breaker.allow(10)


def test_a_failed_probe_opens_it_for_as_long_again():
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    assert breaker.allow(10)
    assert not breaker.failure(11), "it was not closed before"
    assert not breaker.allow(20.9)
    assert breaker.allow(21)


def test_failures_of_what_was_under_way_do_not_put_the_probe_off():
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    breaker.failure(5)
    assert breaker.allow(10)


@given(st.lists(st.sampled_from(["ok", "fail", "wait"]), max_size=60))
def test_after_any_history_a_wait_lets_exactly_one_through_until_it_ends(history):
    breaker, now = Breaker(failures=2, open_s=10), 0.0
    for event in history:
        if event == "wait":
            now += 4
        elif breaker.allow(now):
            breaker.success() if event == "ok" else breaker.failure(now)
    now += 10
    allowed = [breaker.allow(now) for _ in range(3)]
    assert allowed == ([True] * 3 if breaker.state == "closed" else [True, False, False])
