"""The place of one process under a supervisor, which others take after it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from coe.backoff import Backoff
from coe.gateway._workers._child import Child
from coe.gateway._workers._link import Gone
from coe.gateway._workers._order import Failure

_log = logging.getLogger("coe.workers")


class Slot:
    """Keeps one process running until the end.

    Args:
        name: for the log.
        listener: where it accepts connections.
        answer: answers what the process asks, but for what the slot itself is told.
        ended: called after each process with its exit status; below 0 the number of a signal.

    Attributes:
        child: who has the place now.
        settled: set when the first process listens, or it is clear that none will.
        failure: why the first one could not begin.
    """

    def __init__(
        self,
        name: str,
        listener: socket.socket,
        answer: Callable[[Slot, str, Any], Awaitable[Any]],
        ended: Callable[[Slot, int], None],
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self.settled = asyncio.Event()
        self.failure: Failure | None = None
        self._listener = listener
        self._answer = answer
        self._ended = ended
        self._backoff = Backoff()
        self._stopping = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep())

    @property
    def listens(self) -> bool:
        """Whether its process serves."""
        return self.child is not None and self.child.version is not None

    def serves(self, version: int) -> None:
        """Its process serves this version of the configuration."""
        if self.child is not None:
            self.child.version = version
        self.settled.set()

    async def ask(self, what: str, data: Any = None, *, timeout_s: float) -> Any:
        """Ask its process. Raises `Gone`, `TimeoutError`."""
        if self.child is None:
            raise Gone
        return await self.child.link.ask(what, data, timeout_s=timeout_s)

    def stop(self) -> None:
        """Have its process drain, and start no other; a second time: have it end at once."""
        self._stopping.set()
        if self.child is not None:
            self.child.send(signal.SIGTERM)

    async def stopped(self, timeout_s: float) -> None:
        """Wait until its process has ended; kill it when that takes longer."""
        if not (await asyncio.wait([self._keeper], timeout=timeout_s))[0]:
            _log.error("%s did not end within %g s and is killed", self.name, timeout_s)
            if self.child is not None:
                self.child.send(signal.SIGKILL)
            await self._keeper

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            started = clock()
            end = await self._run()
            if self._stopping.is_set():
                break
            if not self.settled.is_set():
                self.failure = self.failure or Failure("UserError", f"A process ended at its start: {end}.")
                break
            self._backoff.failed(clock(), served_s=clock() - started)
            wait_s = self._backoff.wait_s(clock())
            _log.warning("%s ended: how=%r restart_in_s=%g", self.name, end, wait_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
        self.settled.set()

    async def _run(self) -> str:
        """Start a process and wait until it has ended; how it did, in words."""
        try:
            self.child = child = await Child.start(self._listener, self._told)
        except OSError as error:
            return f"cannot be started: {error}"
        if self._stopping.is_set():  # told to stop while it was started
            child.send(signal.SIGTERM)
        status = await child.wait()
        self.child = None
        self._ended(self, status)
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    async def _told(self, what: str, data: Any) -> Any:
        return await self._answer(self, what, data)
