"""Questions and answers between two processes over a socket pair, one JSON line each."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

_log = logging.getLogger("coe.workers")
_LONGEST_LINE_BYTES = 64 * 1024 * 1024

Answer = Callable[[str, Any], Awaitable[Any]]
"""`(what, data)` to what is answered: anything that JSON can say."""


class Gone(Exception):
    """The other process has ended, or closed its side."""


class _Line(msgspec.Struct, omit_defaults=True):
    """One question (`what`) or one answer."""

    id: int
    what: str = ""
    data: Any = None
    failed: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode


class Link:
    """One side of the line. Both may ask; `run` must be running for either.

    Args:
        connection: this side's socket.
        answer: answers what the other side asks. What it raises is logged, and the other side told so.
    """

    def __init__(self, connection: socket.socket, answer: Answer) -> None:
        self._connection = connection
        self._answer = answer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._begun = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        """Read until the other side is gone, and answer meanwhile."""
        reader, self._writer = await asyncio.open_connection(sock=self._connection, limit=_LONGEST_LINE_BYTES)
        self._begun.set()
        try:
            while line := await reader.readline():
                self._received(_decode(line))
        except ConnectionError:
            pass  # the other process was killed while we wrote to it
        finally:
            self._ended = True
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(Gone())
            for task in tuple(self._tasks):
                task.cancel()

    async def ask(self, what: str, data: Any = None, *, timeout_s: float) -> Any:
        """Ask the other side.

        Raises:
            Gone: it has ended, or could not answer.
            TimeoutError: no answer in time.
        """
        await self._begun.wait()
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._write(_Line(number, what, data))
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            del self._waiting[number]

    def _received(self, line: _Line) -> None:
        if line.what:
            task = asyncio.get_running_loop().create_task(self._reply(line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (future := self._waiting.get(line.id)) is not None and not future.done():
            if line.failed:
                future.set_exception(Gone(line.failed))
            else:
                future.set_result(line.data)

    async def _reply(self, line: _Line) -> None:
        try:
            reply = _Line(line.id, data=await self._answer(line.what, line.data))
        # The other side waits: it must hear of every failure, and ours must not end the line.
        except Exception as error:  # noqa: BLE001
            _log.exception("could not answer: question=%s", line.what)
            reply = _Line(line.id, failed=type(error).__name__)
        if not self._ended:
            self._write(reply)

    def _write(self, line: _Line) -> None:
        if self._ended or self._writer is None:
            raise Gone
        self._writer.write(_encode(line) + b"\n")
