"""A stream's usage, asked for on the caller's behalf."""

from __future__ import annotations

from typing import Any

import msgspec

from coe.wire import ChatRequest, StreamOptions


def with_usage(request: ChatRequest) -> ChatRequest:
    """The same request for a stream that ends with its usage. The given one is left as it was."""
    given: dict[str, Any] = request.payload.get("stream_options") or {}
    options = msgspec.structs.replace(request.body.stream_options or StreamOptions(), include_usage=True)
    return ChatRequest(
        body=msgspec.structs.replace(request.body, stream_options=options),
        payload={**request.payload, "stream_options": {**given, "include_usage": True}},
    )
