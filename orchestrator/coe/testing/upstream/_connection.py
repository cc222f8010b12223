"""One HTTP/1.1 connection of the fake upstream: parsing, framing, resets. Knows nothing of OpenAI."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import httptools
import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived.

    Attributes:
        headers: in order, names in lower case.
        on_connection: how many requests the same connection had brought before this one.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    keep_alive: bool
    on_connection: int

    def header(self, name: str) -> str | None:
        """First value of the header, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        """The parsed body. Raises `msgspec.DecodeError` when it is not JSON."""
        return msgspec.json.decode(self.body)


Serve = Callable[[Received, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """Reads requests, hands them to `serve` one after another, writes what it is told to.

    Args:
        serve: answers one request by calling the methods below.
        opened: called with this connection when it is made.
        closed: called when it is lost, and whether a reply was under way then and not cut by ourselves.
    """

    def __init__(
        self,
        serve: Serve,
        opened: Callable[[Connection], None],
        closed: Callable[[Connection, bool], None],
    ) -> None:
        self._serve, self._opened, self._closed = serve, opened, closed
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Received] = deque()
        self._task: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._hung_up = False
        self._count = 0
        self._reset_message()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse; answer what does not parse with 400."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.head(400, {"content-type": "text/plain"}, keep_alive=False)
            self.write(str(error).encode())
            self.hang_up()

    def pause_writing(self) -> None:
        """The client reads slowly: hold back."""
        self._drained.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the reply under way; that is how cancellation shows."""
        self._drained.set()
        abandoned = self._task is not None and not self._task.done() and not self._hung_up
        if self._task is not None:
            self._task.cancel()
        self._closed(self, abandoned)

    # --- httptools callbacks

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Queue the request; pipelined ones are answered in order."""
        received = Received(
            method=self._parser.get_method().decode(),
            path=self._url.decode("latin-1"),
            headers=tuple(self._headers),
            body=bytes(self._body),
            keep_alive=self._parser.should_keep_alive(),
            on_connection=self._count,
        )
        self._count += 1
        self._reset_message()
        self._waiting.append(received)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._answer_all())

    def _reset_message(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()

    async def _answer_all(self) -> None:
        while self._waiting and not self._transport.is_closing():
            await self._serve(self._waiting.popleft(), self)

    # --- what a reply is made of

    def head(
        self,
        status: int,
        headers: dict[str, str],
        *,
        length: int | None = None,
        keep_alive: bool = True,
        version: str = "1.1",
    ) -> None:
        """Write status line and headers. Without `length` the body is chunked, or ends by a close in 1.0."""
        lines = [f"HTTP/{version} {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._chunked = length is None and version == "1.1"
        if length is not None:
            lines.append(f"content-length: {length}")
        elif self._chunked:
            lines.append("transfer-encoding: chunked")
        if not keep_alive:
            lines.append("connection: close")
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def piece(self, data: bytes) -> None:
        """Write a piece of the body."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """Mark the end of the body."""
        if self._chunked:
            self.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Write raw bytes."""
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read enough for more to be written."""
        if not self._drained.is_set():
            await self._drained.wait()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close after what is written, or reset at once."""
        self._hung_up = True
        if not reset:
            self._transport.close()
            return
        sock = cast("socket.socket", self._transport.get_extra_info("socket"))
        # Linger of zero seconds makes the kernel send RST instead of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
