"""Errors as OpenAI's envelope."""

from __future__ import annotations

import math

import msgspec

from coe.errors import (
    BudgetExceeded,
    CoeError,
    ExpertError,
    ExpertRejected,
    InvalidKey,
    RateLimited,
    RequestError,
)
from coe.gateway._asgi import JSON, Header
from coe.wire import ErrorDetail, ErrorEnvelope

_NO_RETRY: Header = (b"x-should-retry", b"false")
"""OpenAI's clients try again after a 429, unless they are told that it is no use."""


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
    if isinstance(error, InvalidKey):
        headers.append((b"www-authenticate", b"Bearer"))
    elif isinstance(error, RateLimited):
        headers += [(name.encode(), value.encode()) for name, value in error.limits.items()]
        headers.append(_NO_RETRY if error.retry_after_s is None else _retry_after(error.retry_after_s))
    elif isinstance(error, BudgetExceeded):
        headers.append(_NO_RETRY)
    elif isinstance(error, ExpertError):
        if error.retry_after_s is not None:
            headers.append(_retry_after(error.retry_after_s))
        elif error.status in (429, 503):
            headers.append((b"retry-after", b"1"))
    return headers


def _retry_after(seconds: float) -> Header:
    return b"retry-after", str(math.ceil(seconds)).encode()
