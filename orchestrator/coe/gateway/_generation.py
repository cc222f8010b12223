"""The engine that serves, and those before it that still have requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from coe.gateway._asgi import Receive, Scope, Send
from coe.gateway._built import Built

Handler = Callable[[Scope, Receive, Send], Awaitable[int]]
Paths = Mapping[str, Mapping[str, Handler]]


@dataclass(slots=True, eq=False)
class Generation:
    """One configuration in force.

    Attributes:
        paths: handlers by path and method.
        active: requests that are being answered.
        starting: wakes its experts.
    """

    built: Built
    paths: Paths
    active: int = 0
    retired: bool = False
    starting: asyncio.Task[None] | None = None


class Generations:
    """Swaps generations; closes a retired one after its last request.

    Args:
        first: the one to begin with.
    """

    def __init__(self, first: Generation) -> None:
        self.current = first
        self._living = [first]
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Wake the experts in the background: those that are awake can be asked at once."""
        generation = self.current
        generation.starting = asyncio.get_running_loop().create_task(generation.built.start())

    def swap(self, new: Generation) -> None:
        """Serve the next request with `new`; requests in flight end where they began."""
        old, self.current = self.current, new
        self._living.append(new)
        self.start()
        old.retired = True
        if not old.active:
            self.idle(old)

    def idle(self, generation: Generation) -> None:
        """The last request of a retired generation has ended."""
        task = asyncio.get_running_loop().create_task(self._close(generation))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all of them."""
        while self._closing:
            await asyncio.wait(self._closing)
        while self._living:
            await self._close(self._living[0])

    async def _close(self, generation: Generation) -> None:
        self._living.remove(generation)
        if generation.starting is not None:
            generation.starting.cancel()
        await generation.built.aclose(each.built for each in self._living)
