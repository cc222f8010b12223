"""A stream's usage, asked for on the caller's behalf."""

from __future__ import annotations

from typing import Any

import msgspec

from coe.wire import ChatRequest, StreamOptions


def with_usage(request: ChatRequest) -> ChatRequest:
    """The same request for a stream that ends with its usage. The given one is left as it was."""
    body = request.body
    options = msgspec.structs.replace(body.stream_options or StreamOptions(), include_usage=True)
    # What the caller says of its stream besides is kept, unread.
    given: dict[str, Any] = {} if body.stream_options is None else request.payload["stream_options"]
    return ChatRequest(
        msgspec.structs.replace(body, stream_options=options),
        raw=request.encoded({"stream_options": {**given, "include_usage": True}}),
    )
