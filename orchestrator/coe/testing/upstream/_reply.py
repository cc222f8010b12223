"""From a fault and a request to the bytes of the reply, and when to break off."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from coe.testing.upstream._answers import Answer, completion, error_envelope, events, message_for
from coe.testing.upstream._connection import Connection, Received
from coe.testing.upstream._fault import Fault, Framing

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"
_WRITE_BYTES = 65_536


class Behaviour(Protocol):
    """What of the upstream's settings shapes a reply."""

    answer: Answer
    framing: Framing
    delay_s: float
    retry_after_s: float
    huge_bytes: int
    served: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send, and what is wrong with it.

    Attributes:
        pieces: the body in the pieces in which it is written.
        length: bytes to announce; None for the sum of `pieces`, or no announcement, as `framing` has it.
        break_at: number of the piece before which the fault strikes.
    """

    pieces: Iterable[bytes] = ()
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    framing: Framing = Framing.LENGTH
    fault: Fault = Fault.NONE
    delay_s: float = 0
    length: int | None = None
    break_at: int = -1

    async def send(self, connection: Connection, received: Received, released: asyncio.Event) -> None:
        """Write it; `released` lets go of what hangs or stalls."""
        fault = self.fault
        if fault in (Fault.RESET, Fault.CLOSE) or (fault is Fault.CLOSE_ON_REUSE and received.on_connection):
            connection.hang_up(reset=fault is Fault.RESET)
            return
        if fault is Fault.NOT_HTTP:
            connection.write(b"220 this is not an HTTP server\r\n\r\n")
            connection.hang_up()
            return
        if fault is Fault.HANG:
            await released.wait()
        if fault is Fault.SLOW_HEADERS:
            await asyncio.sleep(self.delay_s)
        if fault is Fault.INTERIM:
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.write(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
        keep_alive = received.keep_alive and self.framing is not Framing.CLOSE
        self._head(connection, keep_alive)
        for number, piece in enumerate(self.pieces):
            if fault is Fault.SLOW_TOKENS:
                await asyncio.sleep(self.delay_s)
            if number == self.break_at:
                if fault is not Fault.STALL:
                    connection.hang_up(reset=fault is Fault.RESET_MID_BODY)
                    return
                await released.wait()
            connection.piece(piece)
            await connection.drained()
            if fault in (Fault.SPLIT, Fault.ENDLESS):
                # Lets the loop read, so that pieces leave one by one and a disconnect is seen.
                await asyncio.sleep(0)
        connection.end()
        if not keep_alive or fault is Fault.CLOSE_AFTER_REPLY:
            connection.hang_up()

    def _head(self, connection: Connection, keep_alive: bool) -> None:
        length = self.length
        if length is None and self.framing is Framing.LENGTH:
            length = sum(map(len, self.pieces))
        connection.head(
            self.status,
            {"content-type": self.content_type, **dict(self.headers)},
            length=length,
            keep_alive=keep_alive,
            version="1.0" if self.framing is Framing.CLOSE else "1.1",
        )


def plan(fault: Fault, payload: dict[str, Any], behaviour: Behaviour) -> Reply:
    """The reply to a chat completion."""
    streamed = payload.get("stream") is True
    if fault is Fault.ERROR_FRAME and not streamed:
        fault = Fault.SERVER_ERROR
    if refusal := _refusal(fault, behaviour):
        return refusal
    message = message_for(payload, behaviour.answer)
    if fault is Fault.HUGE_BODY:
        message = {"role": "assistant", "content": "x" * behaviour.huge_bytes}
    make = _streamed if streamed else _whole
    return make(fault, payload, message, behaviour)


def _refusal(fault: Fault, behaviour: Behaviour) -> Reply | None:
    def reply(status: int, message: str, code: str, *headers: tuple[str, str], **more: str) -> Reply:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return Reply((error_envelope(message, type=kind, code=code, **more),), status, headers=headers)

    match fault:
        case Fault.SERVER_ERROR:
            return reply(500, "The fake upstream failed, as told.", "internal_error")
        case Fault.UNAVAILABLE:
            return Reply((b"<h1>503 Service Unavailable</h1>",), 503, "text/html")
        case Fault.OVERLOADED:
            wait = ("retry-after", f"{behaviour.retry_after_s:g}")
            return reply(429, "Rate limit reached, as told.", "rate_limit_exceeded", wait)
        case Fault.REJECTED:
            return reply(400, "`temperature` is too high, as told.", "invalid_value", param="temperature")
        case Fault.UNAUTHORIZED:
            return reply(401, "Incorrect API key provided.", "invalid_api_key")
        case Fault.WRONG_CONTENT_TYPE:
            return Reply((b"<!doctype html><title>Welcome</title>",), 200, "text/html; charset=utf-8")
        case _:
            return None


def _whole(fault: Fault, payload: dict[str, Any], message: dict[str, Any], behaviour: Behaviour) -> Reply:
    body = completion(payload, message, behaviour.served)
    framing = Framing.LENGTH if behaviour.framing is Framing.AUTO else behaviour.framing
    length: int | None = None
    pieces: Iterable[bytes]
    match fault:
        case Fault.MALFORMED:
            pieces = (body[: len(body) // 2],)
        case Fault.TRUNCATED:
            pieces, length = _split(body, len(body) // 2 + 1), len(body)
        case Fault.RESET_MID_BODY | Fault.STALL:
            pieces = _split(body, len(body) // 2 + 1)
        case Fault.ENDLESS:
            pieces, framing = itertools.repeat(b" " * 4096), Framing.CHUNKED
        case Fault.SPLIT:
            pieces = _split(body, 7)
        case Fault.SLOW_TOKENS:
            pieces = _split(body, len(body) // 4 + 1)
        case _:
            pieces = _split(body, _WRITE_BYTES)
    return Reply(
        pieces,
        framing=framing,
        fault=fault,
        delay_s=behaviour.delay_s,
        length=length,
        break_at=1 if fault in _BREAKS else -1,
    )


def _streamed(fault: Fault, payload: dict[str, Any], message: dict[str, Any], behaviour: Behaviour) -> Reply:
    stream = list(events(payload, message, behaviour.served))
    framing = Framing.CHUNKED if behaviour.framing is Framing.AUTO else behaviour.framing
    pieces: Iterable[bytes] = stream
    match fault:
        case Fault.MALFORMED:
            pieces = [event[: len(event) // 2] + b"\n\n" for event in stream[:-1]] + stream[-1:]
        case Fault.TRUNCATED:
            pieces = stream[:-1]
        case Fault.ERROR_FRAME:
            error = error_envelope("The fake upstream failed, as told.", type="server_error", code="internal")
            pieces = [*stream[:2], b"data: " + error + b"\n\n"]
        case Fault.ENDLESS:
            pieces, framing = itertools.chain(stream[:1], itertools.repeat(stream[1])), Framing.CHUNKED
        case Fault.SPLIT:
            pieces = _split(b"".join(stream), 7)
        case Fault.HUGE_BODY:
            pieces = _split(b"".join(stream), _WRITE_BYTES)
        case _:
            pass
    return Reply(
        pieces,
        content_type=SSE,
        framing=framing,
        fault=Fault.NONE if fault is Fault.TRUNCATED else fault,
        delay_s=behaviour.delay_s,
        break_at=2 if fault in (Fault.STALL, Fault.RESET_MID_BODY) else -1,
    )


_BREAKS = (Fault.TRUNCATED, Fault.RESET_MID_BODY, Fault.STALL)


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
