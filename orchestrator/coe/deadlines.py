"""Ends what takes too long, with one timer for all.

A timer of its own for each request, and for each silence within a stream, costs the event loop more than the
request's routing. Deadlines of seconds need no better precision than `TICK_S`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, cast

TICK_S = 0.05
"""How much later than its deadline something may end."""


class Waiting(Protocol):
    """What may take too long.

    Attributes:
        deadline: seconds of the event loop's clock; may change while it waits.
    """

    deadline: float

    def expire(self) -> None:
        """The deadline has passed."""
        ...


class Deadlines:
    """Those that wait, on one event loop."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        """Where the timer runs; None while there is none."""

    def add(self, waiting: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        """Watch its deadline."""
        self._waiting.add(waiting)
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(TICK_S, self._tick, loop)

    def discard(self, waiting: Waiting) -> None:
        """It has ended."""
        self._waiting.discard(waiting)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        if not self._waiting:
            self._loop = None
            return
        now = loop.time()
        for each in [each for each in self._waiting if each.deadline <= now]:
            self._waiting.discard(each)
            each.expire()
        loop.call_later(TICK_S, self._tick, loop)


class Limit:
    """`asyncio.timeout` for a known set of deadlines: cancels the task inside and raises `TimeoutError`.

    Args:
        deadlines: where it waits.
        remaining_s: until it ends.
    """

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task", "deadline")

    def __init__(self, deadlines: Deadlines, remaining_s: float) -> None:
        self._deadlines = deadlines
        self._expired = False
        self.deadline = remaining_s

    def __enter__(self) -> None:
        if self.deadline <= 0:
            raise TimeoutError
        loop = asyncio.get_running_loop()
        self.deadline += loop.time()
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._deadlines.add(self, loop)

    def expire(self) -> None:
        """The deadline has passed."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.discard(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
