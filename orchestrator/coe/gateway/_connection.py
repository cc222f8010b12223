"""One caller's connection: HTTP/1.1 on httptools, with bounds on what a caller may send and how slowly.

A clock that ticks once a second is enough to find the slow, so nothing is timed per request.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote

import httptools
import msgspec

from coe.gateway._asgi import Application, Scope
from coe.gateway._exchange import STATUS_LINES, Exchange
from coe.heads import SeenHead, seen
from coe.wire import ErrorDetail, ErrorEnvelope

MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers together."""
HIGH_WATER_BYTES = 64 * 1024
"""Bytes of a body that are held before the socket is no longer read."""
LEAST_BYTES_PER_S = 10_000
"""A body may take longer than the timeout as long as it comes this fast on average."""
KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that it is they who close it."""
TICK_S = 1.0

DISCARDED_BYTES = 1024 * 1024
"""Of a body that nobody wants, before the connection is ended instead."""

_PER_HEADER_BYTES = 32  # what a header costs in memory besides its text
_MAX_PATHS = 256
_paths: dict[bytes, str] = {}


class _HeadTooLarge(Exception):
    pass


@dataclass(slots=True)
class Callers:
    """What all connections of a server have in common.

    Attributes:
        application: answers.
        loop: where everything runs.
        timeout_s: how long a caller may take to send a request, and not read an answer.
        now: monotonic seconds, as of the last tick.
        open: the connections.
        running: requests whose application has not returned.
        ending: no further request is taken.
        none_open: set by the last connection to close while ending.
    """

    application: Application
    loop: asyncio.AbstractEventLoop
    timeout_s: float
    now: float
    open: set[Connection] = field(default_factory=set["Connection"])
    running: set[Exchange] = field(default_factory=set[Exchange])
    ending: bool = False
    none_open: asyncio.Event = field(default_factory=asyncio.Event)


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection that ends when its caller sends too much, or too slowly, or does not read.

    Args:
        callers: those that it is one of.
    """

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self.loop = callers.loop
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        """The one whose request is being read, or was last."""
        self._current: Exchange | None = None
        """The one that is being answered."""
        self._waiting: deque[Exchange] = deque()
        self._seen: SeenHead | None = None
        self._seen_scope: Scope = {}
        self._began: float | None = callers.now
        """Since when we wait for the caller; None while it waits for us."""
        self._idle = False
        self._in_head = False
        self._url = b""
        self._head_bytes = self._partial_bytes = self._discarded = 0
        self._unparsed = 0
        self._reading = True
        self.write_paused = False
        self._writable: asyncio.Future[None] | None = None
        self._unread = 0
        self._unread_since = 0.0

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._callers.open.add(self)
        self.write = self._transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        self._callers.open.discard(self)
        if self._callers.ending and not self._callers.open:
            self._callers.none_open.set()
        self._give_up()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._unparsed:
            self._feed_unparsed(data)
            return
        anew = self._idle
        if anew:
            self._idle = False
            if self._seen is not None and (request := self._seen.body(data)) is not None:
                self._repeated(*request)
                return
            self._began = self._callers.now
            self._head_bytes = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._no_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if max(self._head_bytes, len(self._url)) > MAX_HEAD_BYTES:
                self._refuse_head()
            else:
                self._refuse(400, "invalid_http", "This is not an HTTP/1.1 request.")
        else:
            if self._in_head:
                # Not whole yet, and the parser keeps a header to itself until it is.
                self._partial_bytes += len(data)
                if self._partial_bytes > MAX_HEAD_BYTES:
                    self._refuse_head()
            elif anew and self._exchange is not None and self._exchange.whole:
                self._remember(data, self._exchange)

    def _remember(self, data: bytes, exchange: Exchange) -> None:
        """Know this head when it comes again, if it came with its body and nothing else."""
        self._seen = (
            seen(data, self._headers) if exchange.keep_alive and not exchange.expects_continue else None
        )
        self._seen_scope = {
            key: exchange.scope[key] for key in ("type", "http_version", "method", "path", "headers")
        }

    def _repeated(self, length: bytes, body: bytes) -> None:
        """A whole request whose head is known but for its length. The parser stands between two requests."""
        self._began = None
        scope = {**self._seen_scope, "headers": {**self._seen_scope["headers"], b"content-length": length}}
        self._exchange = exchange = Exchange(
            self, scope, keep_alive=not self._callers.ending, expects_continue=False
        )
        exchange.feed(body)
        exchange.whole = True
        self._begin(exchange)

    def _no_upgrade(self, rest: bytes) -> None:
        """The caller would rather speak another protocol. We do not; the request is answered as it is.

        The parser ends with the head then, so the body is taken here, and what may follow is not read.
        """
        exchange = self._exchange
        if exchange is None:
            return
        exchange.keep_alive = False
        self._unparsed = int(self._headers.get(b"content-length", b"0"))
        if self._unparsed:
            exchange.whole = False
            self._began = self._callers.now
            self._feed_unparsed(rest)
        else:
            self._pause_reading()

    def _feed_unparsed(self, data: bytes) -> None:
        piece = data[: self._unparsed]
        self._unparsed -= len(piece)
        self.on_body(piece)
        if not self._unparsed:
            self.on_message_complete()
            self._pause_reading()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # --- httptools callbacks ---

    def on_message_begin(self) -> None:
        """Called by the parser with the first byte of a request."""
        self._began = self._callers.now
        self._in_head = True
        self._head_bytes = self._partial_bytes = self._discarded = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        """Called by the parser with a piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        self._head_bytes += len(name) + len(value) + _PER_HEADER_BYTES
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge  # the parser ends then
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Called by the parser after the last header."""
        self._in_head = False
        if len(self._url) > MAX_HEAD_BYTES:
            raise _HeadTooLarge
        parser = self._parser
        version = parser.get_http_version()
        scope: Scope = {
            "type": "http",
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "path": _path(self._url),
            "headers": self._headers,
        }
        self._exchange = exchange = Exchange(
            self,
            scope,
            keep_alive=version == "1.1" and parser.should_keep_alive() and not self._callers.ending,
            expects_continue=b"expect" in self._headers,
        )
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self._pause_reading()

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a piece of the body."""
        exchange = self._exchange
        if exchange is None:
            return
        if not exchange.done:
            exchange.feed(body)
            if exchange.size > HIGH_WATER_BYTES and exchange.held_bytes > HIGH_WATER_BYTES:
                self._pause_reading()
        else:
            self._discarded += len(body)
            if self._discarded > DISCARDED_BYTES:
                self._transport.abort()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of a request."""
        self._began = None
        if self._exchange is not None:
            self._exchange.complete()
            if self._exchange.done:
                self._next()

    # --- what an exchange needs ---

    async def writable(self) -> None:
        """Wait until the caller reads, or is gone."""
        while self.write_paused:
            self._writable = self.loop.create_future()
            await self._writable

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """There is room for more."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def answered(self, *, keep_alive: bool) -> None:
        """The current answer is out."""
        current, self._current = self._current, None
        if not keep_alive or (self._callers.ending and not self._waiting):
            self._transport.close()
        elif current is not None and current.whole:
            self._next()
        else:
            # The rest of its body is read and thrown away: only then can the next request be told from it.
            self.resume_reading()

    def _next(self) -> None:
        if self._waiting:
            self._begin(self._waiting.popleft())
        elif self._current is None and not self._transport.is_closing():
            self._idle = True
            self._began = self._callers.now
            self.resume_reading()

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._callers.running.add(exchange)
        exchange.task = self.loop.create_task(exchange.run(self._callers.application))
        self.resume_reading()

    def left(self, exchange: Exchange) -> None:
        """Its application has returned."""
        self._callers.running.discard(exchange)

    def abort(self) -> None:
        """End the connection at once."""
        self._give_up()
        self._transport.abort()

    # --- ends ---

    def _give_up(self) -> None:
        """Nothing is answered here any more."""
        self._waiting.clear()
        if self._exchange is not None:
            self._exchange.lose()
        if self._current is not None:
            self._current.lose()

    def finish(self) -> None:
        """Close after the answers that are under way, or at once when there are none."""
        if self._current is None:
            self._transport.close()
        else:
            (self._waiting[-1] if self._waiting else self._current).keep_alive = False

    def look(self) -> None:
        """End the connection if its caller is too slow."""
        now, timeout_s = self._callers.now, self._callers.timeout_s
        if self._began is not None:
            if self._idle:
                if now > self._began + KEEP_ALIVE_S:
                    self._transport.close()
            elif not self._reading:  # it is we who keep the rest waiting
                self._began = now
            else:
                body_bytes = self._exchange.size if self._exchange is not None and not self._in_head else 0
                # It may have begun a tick later than the clock said then.
                if now > self._began + TICK_S + timeout_s + body_bytes / LEAST_BYTES_PER_S:
                    if self._in_head or self._head_bytes:
                        self._refuse(408, "request_timeout", "The request did not come in time.")
                    else:
                        self._transport.close()
        if self.write_paused:
            # While it is paused nothing is added: another size means that the caller reads.
            size = self._transport.get_write_buffer_size()
            if size != self._unread:
                self._unread, self._unread_since = size, now
            elif now > self._unread_since + timeout_s:
                self.abort()

    def _refuse_head(self) -> None:
        self._refuse(431, "headers_too_large", f"The headers are larger than {MAX_HEAD_BYTES} bytes.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer in place of the application, unless an answer is under way, and close."""
        if self._transport.is_closing():
            return
        if (self._current is None or not self._current.started) and not self._waiting:
            detail = ErrorDetail(message=message, type="invalid_request_error", param=None, code=code)
            body = msgspec.json.encode(ErrorEnvelope(detail))
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self._transport.write(STATUS_LINES[status] + head % len(body) + body)
        self._give_up()
        self._transport.close()


def _path(url: bytes) -> str:
    """The path of a request's target. Raises `httptools.HttpParserInvalidURLError`."""
    path = _paths.get(url)
    if path is None:
        path = unquote(httptools.parse_url(url).path.decode("ascii"))
        if len(_paths) < _MAX_PATHS:
            _paths[url] = path
    return path


async def watch(callers: Callers) -> None:
    """Look at all connections once a second, for ever."""
    while True:
        callers.now = time.monotonic()
        for connection in tuple(callers.open):
            connection.look()
        await asyncio.sleep(TICK_S)
