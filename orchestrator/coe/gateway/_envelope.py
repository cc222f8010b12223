"""Errors as OpenAI's envelope."""

from __future__ import annotations

import math

import msgspec

from coe.errors import CoeError, ExpertError, ExpertRejected, RequestError
from coe.gateway._asgi import JSON, Header
from coe.wire import ErrorDetail, ErrorEnvelope


def envelope(error: CoeError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON bytes."""
    param = error.param if isinstance(error, RequestError | ExpertRejected) else None
    detail = ErrorDetail(message=str(error), type=error.type, param=param, code=error.code)
    return msgspec.json.encode(ErrorEnvelope(detail))


def error_frame(error: CoeError) -> bytes:
    """The error as the last event of a stream that had begun."""
    return b"data: " + envelope(error) + b"\n\n"


def error_headers(error: CoeError) -> list[Header]:
    """Headers of an error response: Retry-After where the error says when."""
    headers = [JSON]
    if isinstance(error, ExpertError):
        if error.retry_after_s is not None:
            headers.append((b"retry-after", str(math.ceil(error.retry_after_s)).encode()))
        elif error.status in (429, 503):
            headers.append((b"retry-after", b"1"))
    return headers
