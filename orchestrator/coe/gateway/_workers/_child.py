"""One process that a supervisor keeps running."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import suppress

from coe.gateway._workers._link import Answer, Link


class Child:
    """A running process and the line to it.

    Attributes:
        version: of the configuration that it serves; None until it listens.
    """

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self._process = process
        self.link = link
        self.version: int | None = None
        self._line = asyncio.create_task(link.run())

    @classmethod
    async def start(cls, listener: socket.socket, answer: Answer) -> Child:
        """Start a process that serves on the listener. `answer` answers what it asks."""
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (theirs.fileno(), listener.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "coe.gateway._workers",
                *map(str, descriptors),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                # Ctrl-C goes to the whole group: only the supervisor decides when running requests are done.
                start_new_session=True,
            )
        return cls(process, Link(ours, answer))

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until it has ended; its exit status, or minus the number of the signal."""
        status = await self._process.wait()
        await asyncio.wait([self._line])
        return status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
