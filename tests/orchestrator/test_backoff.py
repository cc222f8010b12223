"""How long a dying process is left alone."""

from __future__ import annotations

from coe.backoff import LONGEST_S, STABLE_S, Backoff


def test_waits_grow_from_nothing_to_the_longest() -> None:
    backoff = Backoff()
    waits: list[float] = []
    for _ in range(9):
        backoff.failed(100.0)
        waits.append(backoff.wait_s(100.0))

    assert waits == [0, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S, LONGEST_S]


def test_the_wait_runs_down() -> None:
    backoff = Backoff()
    backoff.failed(10.0)
    backoff.failed(10.0)

    assert [backoff.wait_s(now_s) for now_s in (10.0, 10.75, 11.0, 50.0)] == [1.0, 0.25, 0.0, 0.0]


def test_a_crash_after_long_service_counts_as_the_first() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.failed(10.0, served_s=STABLE_S - 1)
    assert backoff.wait_s(10.0) == 8.0

    backoff.failed(100.0, served_s=STABLE_S)

    assert backoff.wait_s(100.0) == 0.0
