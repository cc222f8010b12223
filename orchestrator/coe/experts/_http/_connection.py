"""One connection to a server: parses a reply as it arrives and hands its body to one reader."""

from __future__ import annotations

import asyncio
from math import inf
from typing import cast

import httptools

from coe.heads import SeenHead, seen

HIGH_WATER_BYTES = 256 * 1024
"""Body bytes held for a slow reader before the socket is no longer read."""
MAX_HEADER_BYTES = 64 * 1024


class Broken(Exception):
    """The connection failed before the reply was complete.

    Attributes:
        untouched: not one byte of the reply had arrived.
    """

    def __init__(self, why: str, *, untouched: bool = False) -> None:
        super().__init__(why)
        self.untouched = untouched


class Silent(Broken, TimeoutError):
    """The server did not answer, or did not go on, in time."""


class Known:
    """The head of a server's last whole reply of status 200.

    Attributes:
        head: its bytes; None while there is none.
        headers: of it.
    """

    __slots__ = ("head", "headers")

    def __init__(self) -> None:
        self.head: SeenHead | None = None
        self.headers: dict[bytes, bytes] = {}


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection that serves one exchange at a time.

    Args:
        loop: where it runs.
        known: what its server has answered on any connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, known: Known) -> None:
        self.loop = loop
        self._known = known
        self.deadline = inf
        """When waiting ends, in seconds of the loop's clock."""
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Broken | None = None
        self.exchanges = 0
        self._parts: list[bytes] = []
        # Called by the parser with a piece of the body: no Python in between, as streams have many.
        self.on_body = self._parts.append
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._header_bytes = 0
        self._parts.clear()
        self._buffered = 0
        self._paused = False
        self._touched = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.headers_done = False
        self.complete = False
        self.reusable = False

    # --- what the client does ---

    def send(self, data: bytes) -> None:
        """Start an exchange."""
        if self.exchanges:
            self._reset()
        self.exchanges += 1
        if self._transport is None or self._transport.is_closing():
            raise Broken("the server had closed the connection", untouched=True)
        self._transport.write(data)

    def take(self) -> bytes:
        """Body bytes that are here; empty when there are none."""
        if not self._parts:
            return b""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def closed(self) -> bool:
        """Whether it can carry no further exchange."""
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        """Close at once; the server sees the disconnect."""
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Give up waiting: the reader gets `Silent`."""
        self._fail("the server was silent for too long", Silent)

    def wait_some(self) -> asyncio.Future[None]:
        """Until more of the reply has arrived. Raises `Broken`, now or then."""
        if self._failure is not None:
            raise self._failure
        self._waiter = waiter = self.loop.create_future()
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, why: str, kind: type[Broken] = Broken) -> None:
        if self._failure is None:
            # Silence is an answer of sorts: asking again on another connection would only double the wait.
            self._failure = kind(why, untouched=not self._touched and kind is Broken)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._failure)
        self.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.complete or not self.exchanges:
            # Nothing was asked: such bytes could be taken for the answer to the next request.
            self._fail("the server sent data that nobody asked for")
            return
        anew, self._touched = not self._touched, True
        known = self._known
        if anew and known.head is not None and (reply := known.head.body(data)) is not None:
            # The parser stands between two replies.
            self.status, self.headers = 200, known.headers
            self._parts.append(reply[1])
            self.headers_done = self.complete = self.reusable = True
            self._wake()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the reply is not HTTP: {error}")
            return
        self._buffered += len(data)
        if self._buffered > HIGH_WATER_BYTES and self._parts and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        if self.headers_done:
            if anew and self.complete and self.reusable and self.status == 200:
                known.head, known.headers = seen(data, self.headers), self.headers
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        delimited = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if self.headers_done and not self.complete and not delimited and exc is None:
            # Without a length the end of the connection is the end of the body.
            self.complete = True
            self._wake()
        elif not self.complete:
            self._fail(f"the connection was lost: {exc}" if exc else "the server closed the connection early")

    def eof_received(self) -> bool:
        return False

    # --- httptools callbacks ---

    def on_message_begin(self) -> None:
        """Called by the parser with the first byte of a reply. Raises what ends the parsing."""
        if self.complete:
            raise Broken("more than one reply to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._fail(f"the reply's headers are larger than {MAX_HEADER_BYTES} bytes")
            return
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Called by the parser after the last header."""
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self.headers_done = True

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the reply, also of an interim one."""
        if self.status < 200:
            self.headers.clear()
            self._header_bytes = 0
            return
        self.complete = True
        self.reusable = self._parser.should_keep_alive()
