"""The breaker as a state machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.pool import Breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=3, open_s=10)
    for _ in range(2):
        breaker.failure(0)
    breaker.success()
    for _ in range(2):
        assert not breaker.failure(1)
    assert breaker.admit(1)
    assert breaker.failure(1)
    assert breaker.state(1) == "open"
    assert not breaker.admit(10.9)


def test_one_trial_at_a_time_when_half_open() -> None:
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    assert breaker.changes_at() == 10
    assert breaker.admit(10)
    assert not breaker.admit(11)
    assert breaker.success()
    assert breaker.admit(11)
    assert breaker.admit(11)


def test_a_failed_trial_opens_it_again() -> None:
    breaker = Breaker(failures=5, open_s=10)
    for _ in range(5):
        breaker.failure(0)
    assert breaker.admit(10)
    breaker.failure(12)
    assert not breaker.admit(21)
    assert breaker.admit(22)


def test_a_trial_whose_outcome_never_came_does_not_block_for_ever() -> None:
    breaker = Breaker(failures=1, open_s=10)
    breaker.failure(0)
    assert breaker.admit(10)
    assert not breaker.admit(19)
    assert breaker.admit(20)


events = st.lists(
    st.tuples(st.sampled_from(["ask", "fail", "succeed"]), st.floats(0, 30, allow_nan=False)), max_size=60
)


@given(events, st.integers(1, 5), st.floats(0.1, 20))
def test_while_open_nothing_is_admitted_and_a_success_always_closes(
    steps: list[tuple[str, float]], failures: int, open_s: float
) -> None:
    breaker, now, in_a_row = Breaker(failures, open_s), 0.0, 0
    for what, wait in steps:
        now += wait
        if what == "fail":
            breaker.failure(now)
            in_a_row += 1
            if in_a_row >= failures:
                assert breaker.state(now) == "open"
        elif what == "succeed":
            breaker.success()
            in_a_row = 0
            assert breaker.state(now) == "closed"
        else:
            state = breaker.state(now)
            admitted = breaker.admit(now)
            assert admitted if state == "closed" else True
            assert not admitted if state == "open" else True
            assert state == "closed" or in_a_row >= failures
