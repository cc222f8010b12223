"""The breaker, step by step and at random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.breaker import Breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=3, open_s=10)
    assert [breaker.failure(0), breaker.failure(0), breaker.success()] == [False, False, False]
    assert [breaker.failure(1), breaker.failure(1)] == [False, False]
    assert breaker.admit(1)
    assert breaker.failure(1)
    assert breaker.state(1) == "open"
    assert not breaker.admit(10.9)


def test_one_trial_at_a_time_when_half_open() -> None:
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    assert breaker.changes_at() == 10
    assert breaker.state(10) == "half-open"
    assert breaker.admit(10)
    assert not breaker.admit(11), "a single trial"
    assert breaker.success()
    assert breaker.admit(11)
    assert breaker.admit(11)


def test_a_failed_trial_opens_it_for_as_long_again() -> None:
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    assert breaker.admit(10)
    assert not breaker.failure(11), "it was not closed before"
    assert not breaker.admit(20.9)
    assert breaker.admit(21)


def test_failures_of_what_was_under_way_do_not_put_the_trial_off() -> None:
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    breaker.failure(5)
    assert breaker.admit(10)


def test_a_trial_whose_outcome_never_came_does_not_block_for_ever() -> None:
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    assert breaker.admit(10)
    assert not breaker.admit(19)
    assert breaker.admit(20)


@given(st.lists(st.sampled_from(["ok", "fail", "wait"]), max_size=60), st.integers(1, 4))
def test_after_any_history_a_wait_lets_exactly_one_through_until_it_ends(
    history: list[str], failures: int
) -> None:
    breaker, now = Breaker(failures, open_s=10), 0.0
    for event in history:
        if event == "wait":
            now += 4
        elif breaker.admit(now):
            breaker.success() if event == "ok" else breaker.failure(now)
        assert (breaker.changes_at() is None) == (breaker.state(now) == "closed")
    now += 20
    admitted = [breaker.admit(now) for _ in range(3)]
    assert admitted == ([True] * 3 if breaker.state(now) == "closed" else [True, False, False])


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60), st.integers(1, 5))
def test_while_open_nothing_is_admitted(steps: list[tuple[bool, float]], failures: int) -> None:
    breaker, now = Breaker(failures, open_s=10), 0.0
    for ok, wait in steps:
        now += wait
        before = breaker.state(now)
        admitted = breaker.admit(now)
        if before != "half-open":
            assert admitted == (before == "closed")
        breaker.success() if ok else breaker.failure(now)
