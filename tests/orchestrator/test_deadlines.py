"""One timer for all that may take too long."""

from __future__ import annotations

import asyncio

import pytest

from coe.deadlines import Deadlines, Limit


async def _within(deadlines: Deadlines, limit_s: float, work_s: float) -> str:
    try:
        with Limit(deadlines, limit_s):
            await asyncio.sleep(work_s)
    except TimeoutError:
        return "timed out"
    return "done"


def test_what_takes_too_long_ends_and_the_rest_goes_on() -> None:
    async def several() -> list[str]:
        deadlines = Deadlines()
        works = [(30, 0.0), (0.05, 30), (30, 0.2), (0.0, 0.0), (-1, 30)]
        return await asyncio.gather(*(_within(deadlines, *work) for work in works))

    assert asyncio.run(several()) == ["done", "timed out", "done", "timed out", "timed out"]


def test_the_same_deadlines_work_on_another_loop() -> None:
    deadlines = Deadlines()
    for _ in range(2):
        assert asyncio.run(_within(deadlines, 0.05, 30)) == "timed out"


def test_a_cancellation_from_outside_is_not_taken_for_a_timeout() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(_within(Deadlines(), 30, 30))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_a_deadline_may_move() -> None:
    class Patient:
        deadline = 0.0
        expired = False

        def expire(self) -> None:
            self.expired = True

    async def moved() -> tuple[bool, bool]:
        loop, deadlines, moving, staying = asyncio.get_running_loop(), Deadlines(), Patient(), Patient()
        moving.deadline = staying.deadline = loop.time() + 0.05
        deadlines.add(moving, loop)
        deadlines.add(staying, loop)
        moving.deadline += 30
        while not staying.expired:
            await asyncio.sleep(0.01)
        return moving.expired, staying.expired

    assert asyncio.run(moved()) == (False, True)
