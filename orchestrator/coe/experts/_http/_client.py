"""A pool of connections to one server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from math import inf
from urllib.parse import urlsplit

from coe.deadlines import Deadlines
from coe.errors import ConfigError
from coe.experts._http._connection import Broken, Connection, Known


class Response:
    """A reply whose headers have arrived. Close it, or read it to its end.

    Attributes:
        status: HTTP status.
        headers: lower-case names to values, as bytes.
    """

    __slots__ = ("_client", "_connection", "headers", "status")

    def __init__(self, client: HttpClient, connection: Connection) -> None:
        self._client = client
        self._connection = connection
        self.status = connection.status
        self.headers: Mapping[bytes, bytes] = connection.headers

    def whole(self, limit_bytes: int) -> bytes:
        """The whole body if it is here, and gives the connection back; else empty, and `read` waits for it.

        Raises `Broken` when it is larger than the limit.
        """
        if not self._connection.complete:
            return b""
        body = self._connection.take()
        self.close()
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body

    async def read(self, limit_bytes: int, timeout_s: float, idle_timeout_s: float) -> bytes:
        """The whole body.

        Raises `Broken` (also when it is larger than the limit); `Silent` after `timeout_s`, or after
        `idle_timeout_s` without a byte.
        """
        pieces: list[bytes] = []
        size = 0
        connection = self._connection
        time = connection.loop.time
        end = time() + timeout_s
        try:
            while True:
                if piece := connection.take():
                    pieces.append(piece)
                    size += len(piece)
                    if size > limit_bytes:
                        raise _too_large(limit_bytes)
                if connection.complete:
                    break
                connection.deadline = min(end, time() + idle_timeout_s)
                await connection.wait_some()
        finally:
            self.close()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def piece(self, idle_timeout_s: float) -> bytes:
        """The next bytes of the body as they arrive; empty at its end.

        Raises `Broken`; `Silent` after `idle_timeout_s` without a byte.
        """
        connection = self._connection
        connection.deadline = connection.loop.time() + idle_timeout_s
        try:
            while not (piece := connection.take()) and not connection.complete:
                await connection.wait_some()
            return piece
        finally:
            # Who reads slowly is not the server's fault.
            connection.deadline = inf

    def close(self) -> None:
        """Give the connection back when the reply is complete; else end it, which cancels the call."""
        self._client.release(self._connection)


class HttpClient:
    """POSTs to one server over pooled keep-alive connections.

    Args:
        base_url: http:// or https:// URL; its path is a prefix of every request's path.
        headers: sent with every request.
        connect_timeout_s: for a new connection, TLS included.
        tls: whom an https server must be vouched for by; those that the system trusts by default.
        max_idle: idle connections kept.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connect_timeout_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        max_idle: int = 256,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(f"`{base_url}` is not an http:// or https:// URL.")
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if url.scheme == "https" else None
        self._prefix = url.path.rstrip("/")
        self._fixed = _header_block({"Host": url.netloc.rpartition("@")[2], **(headers or {})})
        self._connect_timeout_s = connect_timeout_s
        self._max_idle = max_idle
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._deadlines = Deadlines()
        self._starts: dict[str, bytes] = {}
        self._known = Known()

    async def post(self, path: str, body: bytes, *, timeout_s: float, headers: str = "") -> Response:
        """POST a JSON body; returns when the headers have arrived.

        Args:
            path: starts with `/`; the base URL's path comes before it.
            body: JSON bytes.
            timeout_s: until the headers are there.
            headers: further header lines, each ended by CR LF.

        Raises:
            OSError: cannot connect.
            TimeoutError: cannot connect in time.
            Silent: no headers in time (also a TimeoutError).
            Broken: the connection failed before the headers were there.
        """
        start = self._starts.get(path)
        if start is None:
            start = self._starts[path] = (
                f"POST {self._prefix}{path} HTTP/1.1\r\n{self._fixed}Content-Type: application/json\r\n"
            ).encode("latin-1")
        request = b"%b%bContent-Length: %d\r\n\r\n%b" % (start, headers.encode("latin-1"), len(body), body)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            connection, fresh = self._take_idle(), False
            if connection is None:
                connection, fresh = await self._connect(loop, deadline), True
            connection.deadline = deadline
            self._busy.add(connection)
            self._deadlines.add(connection, loop)
            try:
                connection.send(request)
                while not connection.headers_done:
                    await connection.wait_some()
            except Broken as error:
                self.release(connection)
                # A kept connection that the server closed while idle: it has seen nothing of the request.
                if error.untouched and not fresh:
                    continue
                raise
            except BaseException:
                self.release(connection)
                raise
            return Response(self, connection)

    def release(self, connection: Connection) -> None:
        """Keep the connection for another request if it is clean; close it otherwise. Idempotent."""
        if connection not in self._busy:
            return
        self._busy.discard(connection)
        self._deadlines.discard(connection)
        clean = connection.complete and connection.reusable and not connection.closed
        if clean and len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()

    def _take_idle(self) -> Connection | None:
        # One that was closed meanwhile says so when it is to send, and another is taken.
        return self._idle.pop() if self._idle else None

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: float) -> Connection:
        when = min(deadline, loop.time() + self._connect_timeout_s)
        async with asyncio.timeout_at(when):
            _, connection = await loop.create_connection(
                lambda: Connection(loop, self._known),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        return connection


def _too_large(limit_bytes: int) -> Broken:
    return Broken(f"the reply is larger than {limit_bytes} bytes")


def _header_block(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if any(char in name + value for char in "\r\n\0") or not (name + value).isascii():
            raise ConfigError(f"The header `{name}` holds a line break or a character that is not ASCII.")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
