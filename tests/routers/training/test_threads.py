from __future__ import annotations

from typing import Any

import sklearn.svm  # noqa: F401  # loads the pools that the fits use
from threadpoolctl import threadpool_info, threadpool_limits

from coe_routers._threads import one_thread


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


@one_thread
def fit(number: int, *, other: int) -> tuple[set[int], Any]:
    return threads(), (number, other)


def test_a_fit_runs_on_one_thread_and_leaves_the_others_their_number() -> None:
    with threadpool_limits(limits=2):
        assert fit(3, other=4) == ({1}, (3, 4))
        assert threads() == {2}
