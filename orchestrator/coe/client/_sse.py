"""Server-sent events, as chat completions use them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from coe.client._errors import told_error
from coe.errors import ExpertProtocolError

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_object = msgspec.json.Decoder(dict[str, Any])


async def read_events(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of a stream, up to its `[DONE]`. Closing it closes `chunks`.

    Raises:
        CoeError: the stream holds an error; it is raised as what it was at the server.
        ExpertProtocolError: an event is not a JSON object, or the stream ended without `[DONE]`.
    """
    held = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            *events, held = _END.split(held + chunk)
            for event in events:
                data = _data(event)
                if data == b"[DONE]":
                    return
                if data:
                    yield _decode(data)
    raise ExpertProtocolError("The stream ended early.")


def _data(event: bytes) -> bytes:
    """The data of an event; empty for comments and events without any."""
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def _decode(data: bytes) -> dict[str, Any]:
    try:
        event = _object.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExpertProtocolError(f"The stream holds an event that is no JSON object: {error}.") from error
    if "error" in event:
        raise told_error(event)
    return event
