"""How many requests an expert may have at once, and how many may wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress


class Gate:
    """Lets `limit` in at once; `queue` more wait, first come first served. For one event loop.

    Args:
        limit: places.
        queue: how many may wait for one.
    """

    def __init__(self, limit: int, queue: int) -> None:
        self.limit = limit
        self.queue = queue
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def enter(self, timeout_s: float) -> bool:
        """Take a place. False when none is free and the queue is full, or none became free in time.

        Does not suspend while there are places. Whoever got one must `leave`.
        """
        if self.inside < self.limit:
            self.inside += 1
            return True
        if len(self._waiting) >= self.queue:
            return False
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                await place
        except BaseException as error:
            # The place may have come in the same turn of the loop: it must not be lost with us.
            if place.done() and not place.cancelled():
                self.leave()
            else:
                with suppress(ValueError):
                    self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def leave(self) -> None:
        """Give the place back: to whoever has waited longest, if anybody has."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # else it was cancelled in this turn of the loop
                place.set_result(None)
                return
        self.inside -= 1
