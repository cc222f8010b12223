"""One request and its answer on a connection: ASGI's `receive` and `send`."""

from __future__ import annotations

import asyncio
import http
import logging
from types import TracebackType
from typing import Protocol, cast

from coe.gateway._asgi import JSON, Application, ClientGone, Header, Message, Scope

_log = logging.getLogger("coe.gateway")

EXCHANGE = "coe.exchange"
"""Key of the scope under which the application finds the exchange itself."""

STATUS_LINES = {
    int(status): b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in http.HTTPStatus
}
_HEAD_OF_FAILURE = STATUS_LINES[500] + b"content-length: 0\r\nconnection: close\r\n\r\n"


class Caller(Protocol):
    """What an exchange needs of the connection that it is on."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where everything runs."""
        ...

    @property
    def write_paused(self) -> bool:
        """Whether the caller has yet to read what was written."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    async def writable(self) -> None:
        """Wait until it reads, or is gone."""
        ...

    def resume_reading(self) -> None:
        """There is room for more of the body."""
        ...

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is out."""
        ...

    def left(self, exchange: Exchange) -> None:
        """Its application has returned."""
        ...

    def abort(self) -> None:
        """End the connection at once."""
        ...


class Exchange:
    """One request and its answer.

    Args:
        caller: the connection.
        scope: of the request; `EXCHANGE` is added to it.
        keep_alive: whether the connection may carry another request.
        expects_continue: the caller waits for a `100 Continue` before it sends the body.

    Attributes:
        size: bytes of the body so far.
        whole: the body is complete.
        started: the head of the answer has been given.
        done: the answer is complete.
        gone: the caller has closed the connection before.
        cancel: the task to cancel when that happens.
        task: runs the application.
    """

    __slots__ = (
        "_caller",
        "_chunked",
        "_head",
        "_pieces",
        "_waiter",
        "cancel",
        "done",
        "expects_continue",
        "gone",
        "keep_alive",
        "scope",
        "size",
        "started",
        "task",
        "whole",
    )

    def __init__(self, caller: Caller, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        self._caller = caller
        self.scope = scope
        scope[EXCHANGE] = self
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = False
        self.size = 0
        self.whole = self.started = self.done = self.gone = False
        self.cancel: asyncio.Task[object] | None = None
        self.task: asyncio.Task[None] | None = None

    # --- told by the connection ---

    def feed(self, piece: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(piece)
        self.size += len(piece)
        self._wake()

    @property
    def held_bytes(self) -> int:
        """Bytes of the body that the application has not taken yet."""
        return sum(map(len, self._pieces))

    def complete(self) -> None:
        """The body is complete."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """The caller is gone, or given up."""
        if self.gone or self.done:
            return
        self.gone = True
        self._wake()
        if self.cancel is not None:
            self.cancel.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the application ---

    async def run(self, application: Application) -> None:
        """Have the application answer; whatever becomes of it, the connection does not hang."""
        try:
            await application(self.scope, self.receive, self.send)
            if not self.done and not self.gone:
                _log.error("an answer was not completed", extra={"path": self.scope["path"]})
        # The application answers for its own failures; what comes through is a defect of ours.
        except Exception:  # noqa: BLE001
            _log.exception("the application failed", extra={"path": self.scope["path"]})
        finally:
            # No cycle is left behind: the collector would have to find it.
            del self.scope[EXCHANGE]
            self._caller.left(self)
            if not self.done and not self.gone:
                if not self.started or self._head:
                    self._caller.write(_HEAD_OF_FAILURE)
                    self._caller.answered(keep_alive=False)
                else:
                    self._caller.abort()

    async def receive(self) -> Message:
        """ASGI's: the body in pieces, then `http.disconnect` once the caller is gone."""
        if self.expects_continue and not self.started and not self.whole and not self.gone:
            self._caller.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.expects_continue = False
        while not self._pieces and not self.whole and not self.gone:
            self._waiter = self._caller.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.gone:
            return {"type": "http.disconnect"}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if not self.whole:
            self._caller.resume_reading()
        self._pieces.clear()
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        """ASGI's: the head, kept until the first piece of the body so that both leave in one packet."""
        if self.gone:
            return
        if message["type"] == "http.response.start":
            if self.started:
                raise RuntimeError("the answer has begun already")
            lines: bytes = message.get("lines", b"")
            if (whole := message.get("whole")) is not None:
                self.answer(message["status"], whole, message["headers"], lines)
                return
            self.begin(message["status"], message["headers"], lines)
            return
        if not self.started or self.done:
            raise RuntimeError("a body without a head, or after the end")
        self.piece(message.get("body", b""), more=message.get("more_body", False))
        await self.room()

    # --- the same for what is here already, without waiting ---

    def begin(self, status: int, headers: tuple[Header, ...], lines: bytes = b"") -> None:
        """Give the head of an answer that comes in pieces."""
        # The body of an answer to HTTP/1.0 has no chunks: it ends with the connection.
        self._chunked = self.scope["http_version"] != "1.0"
        length = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        self._head = self._rendered(status, headers, lines, length)
        self.started = True

    def piece(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the answer, with the head before the first."""
        if self.gone:
            return
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            end = b"" if more else b"0\r\n\r\n"
            body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        if self._head:
            body, self._head = self._head + body, b""
        self._caller.write(body)
        if not more:
            self.done = True
            self._caller.answered(keep_alive=self.keep_alive)

    async def room(self) -> None:
        """Wait while the caller has yet to read what was sent."""
        if self._caller.write_paused and not self.done:
            await self._caller.writable()

    def body(self, limit_bytes: int) -> bytes:
        """The whole body; empty when it is not all here yet, or larger than the limit."""
        if not self.whole or self.gone or self.size > limit_bytes:
            return b""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def answer(
        self, status: int, body: bytes, headers: tuple[Header, ...] = (JSON,), lines: bytes = b""
    ) -> None:
        """Send a whole answer; `lines` are further header lines, each with its CR LF."""
        if self.gone:
            return
        head = self._rendered(status, headers, lines, b"content-length: %d\r\n" % len(body))
        self._caller.write(head if self.scope["method"] == "HEAD" else head + body)
        self.started = self.done = True
        self._caller.answered(keep_alive=self.keep_alive)

    def _rendered(self, status: int, headers: tuple[Header, ...], lines: bytes, length: bytes) -> bytes:
        start = _starts.get((status, headers)) or _start(status, headers)
        if self.keep_alive:
            return b"%b%b%b\r\n" % (start, lines, length)
        return b"%b%b%bconnection: close\r\n\r\n" % (start, lines, length)


_starts: dict[tuple[int, tuple[Header, ...]], bytes] = {}
_MAX_STARTS = 256


def _start(status: int, headers: tuple[Header, ...]) -> bytes:
    """Status line and headers; kept, as there are few that differ. Raises `RuntimeError` for a line break."""
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    lines += [b"%b: %b\r\n" % header for header in headers]
    start = b"".join(lines)
    if start.count(b"\n") != len(lines) or start.count(b"\r") != len(lines):
        raise RuntimeError("a line break in a header")
    if len(_starts) < _MAX_STARTS:
        _starts[status, headers] = start
    return start


class CancelOnDisconnect:
    """Cancels what runs inside as soon as the caller goes away; raises `ClientGone` then.

    Args:
        scope: of the request.
    """

    __slots__ = ("_exchange",)

    def __init__(self, scope: Scope) -> None:
        self._exchange: Exchange = scope[EXCHANGE]

    def __enter__(self) -> None:
        exchange = self._exchange
        if exchange.gone:
            raise ClientGone
        exchange.cancel = cast("asyncio.Task[object]", exchange.task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exchange = self._exchange
        task, exchange.cancel = exchange.cancel, None
        if exchange.gone and task is not None and isinstance(error, asyncio.CancelledError):
            task.uncancel()
            raise ClientGone from None
