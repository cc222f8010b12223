"""One caller's connection: uvicorn's, with bounds on what a caller may send and how slowly.

A clock that ticks once a second is enough to find the slow, so nothing is timed per request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from coe.wire import ErrorDetail, ErrorEnvelope

MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers together."""
LEAST_BYTES_PER_S = 10_000
"""A body may take longer than the timeout as long as it comes this fast on average."""
TICK_S = 1.0

_PER_HEADER_BYTES = 32  # what a header costs in memory besides its text


class _HeadTooLarge(Exception):
    pass


class Connection(HttpToolsProtocol):
    """An HTTP/1.1 connection that ends when its caller sends too much, or too slowly, or does not read."""

    now = 0.0
    """Seconds, coarse; of all connections."""

    _began: float | None = None
    _asked = False
    _in_head = False
    _head_bytes = 0
    _partial_bytes = 0
    _body_bytes = 0
    _unread = 0
    _unread_since = 0.0
    url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._began = Connection.now
        super().connection_made(transport)  # pyright: ignore[reportArgumentType]  (uvicorn's is narrower)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            # Not whole yet, and the parser keeps a header to itself until it is.
            self._partial_bytes += len(data)
            if self._partial_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    # --- httptools callbacks ---

    def on_message_begin(self) -> None:
        """Called by the parser with the first byte of a request."""
        self._began = Connection.now
        self._in_head = True
        self._head_bytes = self._partial_bytes = self._body_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        self._head_bytes += len(name) + len(value) + _PER_HEADER_BYTES
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge  # the parser ends then, and calls `send_400_response`
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by the parser after the last header."""
        self._in_head = False
        if len(self.url) > MAX_HEAD_BYTES:
            raise _HeadTooLarge
        super().on_headers_complete()
        self._asked = True

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of a request."""
        self._began = None
        super().on_message_complete()

    # --- ends ---

    def send_400_response(self, msg: str) -> None:
        """uvicorn's name for: what came is not a request that we read."""
        if max(self._head_bytes, len(self.url)) > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            self._refuse(400, "invalid_http", "This is not an HTTP/1.1 request.")

    def _refuse_head(self) -> None:
        self._refuse(431, "headers_too_large", f"The headers are larger than {MAX_HEAD_BYTES} bytes.")

    def look(self, timeout_s: float) -> None:
        """End the connection if its caller is too slow."""
        now = Connection.now
        if self._began is not None:
            if self.flow.read_paused:  # it is we who keep the rest waiting
                self._began = now
            elif now > self._began + timeout_s + self._body_bytes / LEAST_BYTES_PER_S:
                if self._in_head or self._head_bytes:
                    self._refuse(408, "request_timeout", "The request did not come in time.")
                else:
                    self.transport.close()
        elif self.timeout_keep_alive_task is None and not self._answering():
            self._began = now  # bytes came that begin no request, and stopped the timer for idle connections
            self._head_bytes = self._body_bytes = 0
        if self.flow.write_paused:
            # While it is paused nothing is added: another size means that the caller reads.
            size = self.transport.get_write_buffer_size()
            if size != self._unread:
                self._unread, self._unread_since = size, now
            elif now > self._unread_since + timeout_s:
                self.transport.abort()

    def _answering(self) -> bool:
        return self._asked and not self.cycle.response_complete

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer in place of the application, unless an answer is under way, and close."""
        if self.transport.is_closing():
            return
        answering = self._answering() and self.cycle.response_started
        if not answering and not self.pipeline:
            detail = ErrorDetail(message=message, type="invalid_request_error", param=None, code=code)
            body = msgspec.json.encode(ErrorEnvelope(detail))
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()


async def watch(connections: Iterable[Any], timeout_s: float) -> None:
    """Look at all of them once a second, for ever."""
    while True:
        Connection.now = time.monotonic()
        for connection in tuple(connections):
            connection.look(timeout_s)
        await asyncio.sleep(TICK_S)
