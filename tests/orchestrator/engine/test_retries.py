"""How many fallbacks a failing expert may cause."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.engine._retries import BURST_S, SAVED, RetryBudget


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50)), max_size=60),
    st.sampled_from([0.0, 0.1, 0.2, 1.0]),
    st.sampled_from([0.0, 1.0, 10.0]),
)
def test_retries_stay_below_the_promised_part_whatever_comes(
    steps: list[tuple[float, int]], ratio: float, per_s: float
) -> None:
    budget = RetryBudget(ratio, per_s)
    now = start = 1000.0
    requests = granted = 0
    for pause_s, count in steps:
        now += pause_s
        for _ in range(count):
            budget.request()
            requests += 1
            granted += budget.retry(now)
    assert granted <= requests * ratio + (now - start + BURST_S) * per_s + 1e-6
    assert granted + budget.denied == requests


def test_a_quiet_gateway_may_always_try_again() -> None:
    budget = RetryBudget(0.0, 10)
    assert all(budget.retry(float(second)) for second in range(1000))


def test_good_times_save_up_no_more_than_a_little() -> None:
    budget = RetryBudget(0.2, 0)
    for _ in range(10_000):
        budget.request()
    assert sum(budget.retry(1.0) for _ in range(1000)) == SAVED
