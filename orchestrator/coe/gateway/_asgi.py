"""How the server and the gateway talk: ASGI's way, with two short cuts for the sake of speed.

`scope["headers"]` is a dict of lower-case names; and `http.response.start` may carry `lines`, header lines
that are rendered already, and `whole`, the whole body, which makes it the only message of the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from coe.errors import RequestTooLarge

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
EVENT_STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Ask reverse proxies not to gather the stream.
    (b"x-accel-buffering", b"no"),
)


class ClientGone(Exception):
    """The caller closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """The request's body. Raises `RequestTooLarge`, `ClientGone`."""
    announced = scope["headers"].get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body
    pieces, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit_bytes:
            raise _too_large(limit_bytes)
    return b"".join(pieces)


def _too_large(limit_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body is larger than {limit_bytes / 1e6:g} MB.", hint="See `server.max_body_mb`."
    )


async def respond(
    send: Send, status: int, body: bytes, headers: Iterable[Header] = (JSON,), lines: bytes = b""
) -> None:
    """Send a whole response; `lines` are further header lines, each with its CR LF."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": tuple(headers),
            "lines": lines,
            "whole": body,
        }
    )
