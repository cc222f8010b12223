"""From litellm's exceptions to coe's.

litellm raises subclasses of the OpenAI SDK's exceptions for every provider, each with a `status_code`. Class
names and that code tell them apart, so that nothing of litellm is imported here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from coe.errors import (
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)

_OURS_TO_MEND = {
    401: "refused the credentials; check `api_key`",
    402: "asks for payment",
    403: "refused the credentials; check what the key may do",
    404: "does not know the model or the address; check `model` and `api_base`",
}
_LONGEST_MESSAGE = 500
_PREFIX = re.compile(r"^(?:litellm\.)?(?:\w+(?:Error|Exception|Timeout)\s*[:-]\s*)+")


def expert_error(error: Exception, expert: str, secrets: frozenset[str] = frozenset()) -> ExpertError:
    """What an exception of litellm's means for the request.

    Args:
        error: what litellm raised.
        expert: the expert's name in the pool.
        secrets: texts that must not show in the message.
    """
    error = _innermost(error)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = _status(error)
    retry_after_s = _retry_after_s(error)
    if isinstance(error, TimeoutError) or "APITimeoutError" in kinds or status == 408:
        return ExpertTimeout(f"`{expert}` did not answer in time.", expert=expert)
    if (mend := _OURS_TO_MEND.get(status)) is not None:
        # Not the caller's fault. The provider's words are left out: they may hold the key.
        return ExpertUnavailable(f"The provider of `{expert}` {mend}.", expert=expert)
    message = _message(error, secrets)
    if status == 429:
        return ExpertOverloaded(
            f"`{expert}` is overloaded: {message}", expert=expert, retry_after_s=retry_after_s
        )
    if 400 <= status < 500:
        param = "messages" if "ContextWindowExceededError" in kinds else _from_body(error, "param")
        return ExpertRejected(
            f"`{expert}` refused the request: {message}", status=status, expert=expert, param=param
        )
    if "APIResponseValidationError" in kinds or any(
        isinstance(each, json.JSONDecodeError) for each in _causes(error)
    ):
        return ExpertProtocolError(
            f"`{expert}` answered something that is not its protocol: {message}", expert=expert
        )
    return ExpertUnavailable(f"`{expert}` failed: {message}", expert=expert, retry_after_s=retry_after_s)


def _innermost(error: Exception) -> Exception:
    """What is inside the wrapper that litellm puts around a failure within a stream."""
    while isinstance(inner := getattr(error, "original_exception", None), Exception):
        error = inner
    return error


def _status(error: Exception) -> int:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 500


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _message(error: Exception, secrets: frozenset[str]) -> str:
    text = _from_body(error, "message") or _PREFIX.sub("", str(error)).strip() or type(error).__name__
    text = text.partition("\nTraceback (most recent call last)")[0]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text[:_LONGEST_MESSAGE]


def _from_body(error: Exception, field: str) -> str | None:
    body = getattr(error, "body", None)
    value: Any = cast("dict[str, Any]", body).get(field) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None


def _retry_after_s(error: Exception) -> float | None:
    """Seconds of the provider's Retry-After header; its date form is not used by LLM providers."""
    headers: Any = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    value = cast("Mapping[str, str]", headers).get("retry-after") if isinstance(headers, Mapping) else None
    return float(value) if value is not None and value.strip().isdigit() else None
