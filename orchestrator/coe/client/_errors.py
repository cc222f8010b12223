"""From an error envelope back to the error that the server raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from coe.errors import (
    BudgetExceeded,
    CoeError,
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
    InvalidKey,
    InvalidRequest,
    ModelNotFound,
    NoEligibleExpert,
    RateLimited,
    RequestError,
    RequestTooLarge,
)

_REQUEST: dict[str, type[RequestError]] = {
    each.code: each
    for each in (
        InvalidRequest,
        RequestTooLarge,
        ModelNotFound,
        NoEligibleExpert,
        InvalidKey,
        BudgetExceeded,
    )
}
_EXPERT: dict[str, type[ExpertError]] = {
    each.code: each
    for each in (ExpertError, ExpertUnavailable, ExpertTimeout, ExpertOverloaded, ExpertProtocolError)
}


class _Detail(msgspec.Struct):
    message: str = "The server gives no reason."
    param: str | None = None
    code: str | int | None = None


class _Envelope(msgspec.Struct):
    error: _Detail


def told_error(
    envelope: Mapping[str, Any], status: int = 502, retry_after_s: float | None = None
) -> CoeError:
    """The error of an envelope, of the class that its `code` names.

    What an expert's own server says of a failure may have a code of another make: by its status it becomes a
    `RequestError` (4xx), an `ExpertError` (502, and errors within a stream), or a plain `CoeError`.

    Args:
        envelope: `{"error": {"message", "param", "code"}}`.
        status: of the response.
        retry_after_s: its Retry-After header.
    """
    try:
        detail = msgspec.convert(envelope, _Envelope).error
    except msgspec.ValidationError:
        return ExpertProtocolError(f"The server answered {status} without a readable error.")
    code = str(detail.code)
    if request := _REQUEST.get(code):
        return request(detail.message, param=detail.param)
    if code == RateLimited.code:
        return RateLimited(detail.message, retry_after_s=retry_after_s)
    if expert := _EXPERT.get(code):
        return expert(detail.message, retry_after_s=retry_after_s)
    if code == ExpertRejected.code:
        return ExpertRejected(detail.message, status=status, param=detail.param)
    if status == ExpertError.status:
        return ExpertError(detail.message, retry_after_s=retry_after_s)
    if 400 <= status < 500:
        error = RequestError(detail.message, param=detail.param)
        error.status = status
        return error
    return CoeError(detail.message)
