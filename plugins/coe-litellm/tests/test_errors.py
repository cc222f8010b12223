"""Every failure of a provider as coe's error, over real HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coe.errors import (
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)
from coe.testing import FakeUpstream, Fault, chat, context
from coe_litellm._errors import expert_error

BEFORE_THE_FIRST_CHUNK = [
    (Fault.RESET, ExpertUnavailable),
    (Fault.CLOSE, ExpertUnavailable),
    (Fault.SERVER_ERROR, ExpertUnavailable),
    (Fault.UNAVAILABLE, ExpertUnavailable),
    (Fault.OVERLOADED, ExpertOverloaded),
    (Fault.REJECTED, ExpertRejected),
    (Fault.UNAUTHORIZED, ExpertUnavailable),
    (Fault.MALFORMED, ExpertProtocolError),
    (Fault.NOT_HTTP, ExpertUnavailable),
]


def fail(expert: Any, *, timeout_s: float = 30, **fields: Any) -> ExpertError:
    async def use() -> None:
        try:
            await expert.complete(chat("one two three", **fields), context(timeout_s=timeout_s))
        finally:
            await expert.aclose()

    with pytest.raises(ExpertError) as caught:
        asyncio.run(use())
    return caught.value


def fail_within_the_stream(expert: Any) -> tuple[list[bytes], ExpertError]:
    got: list[bytes] = []

    async def use() -> None:
        try:
            reply = await expert.complete(chat("one two three", stream=True), context())
            while True:
                got.append(await anext(reply.chunks))
        finally:
            await expert.aclose()

    with pytest.raises(ExpertError) as caught:
        asyncio.run(use())
    return got, caught.value


@pytest.fixture
def expert(make: Any, upstream: FakeUpstream) -> Any:
    return make(model="openai/gpt-4o", api_key="very-secret", api_base=upstream.base_url, idle_timeout_s=0.3)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "kind"), BEFORE_THE_FIRST_CHUNK)
def test_failures_before_the_first_chunk(
    expert: Any, upstream: FakeUpstream, fault: Fault, kind: type[ExpertError], stream: bool
) -> None:
    upstream.fault = fault
    error = fail(expert, stream=stream)
    assert type(error) is kind
    assert error.expert == "lite"
    assert upstream.served == 1, "litellm tried again by itself"
    assert "Traceback" not in str(error)


def test_overload_says_when_to_come_back(expert: Any, upstream: FakeUpstream) -> None:
    upstream.fault, upstream.retry_after_s = Fault.OVERLOADED, 7
    assert fail(expert).retry_after_s == 7


def test_a_refusal_keeps_status_field_and_words(expert: Any, upstream: FakeUpstream) -> None:
    upstream.fault = Fault.REJECTED
    error = fail(expert)
    assert isinstance(error, ExpertRejected)
    assert (error.status, error.param) == (400, "temperature")
    assert str(error) == "`lite` refused the request: `temperature` is too high, as told."


def test_refused_credentials_are_ours_to_mend(expert: Any, upstream: FakeUpstream) -> None:
    upstream.fault = Fault.UNAUTHORIZED
    error = fail(expert)
    assert error.retryable
    assert "api_key" in str(error)
    assert "very-secret" not in str(error)


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_is_kept_while_the_provider_is_silent(
    expert: Any, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.fault = Fault.HANG
    asyncio.run(expert.start())
    assert type(fail(expert, timeout_s=0.3, stream=stream)) is ExpertTimeout


def test_a_passed_deadline_asks_nobody(expert: Any, upstream: FakeUpstream) -> None:
    assert type(fail(expert, timeout_s=0)) is ExpertTimeout
    assert upstream.served == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.STALL, ExpertTimeout),
        (Fault.RESET_MID_BODY, ExpertUnavailable),
        (Fault.ERROR_FRAME, ExpertUnavailable),
    ],
)
def test_failures_within_a_stream(
    expert: Any, upstream: FakeUpstream, fault: Fault, kind: type[ExpertError]
) -> None:
    upstream.fault = fault
    got, error = fail_within_the_stream(expert)
    assert type(error) is kind
    assert got, "it failed before the first chunk"
    assert not any(b"[DONE]" in piece or b'"stop"' in piece for piece in got), "an end was made up"


def test_an_answer_that_is_no_stream_is_not_taken_for_an_empty_one(
    expert: Any, upstream: FakeUpstream
) -> None:
    upstream.fault = Fault.WRONG_CONTENT_TYPE
    assert type(fail(expert, stream=True)) is ExpertProtocolError


def test_an_unknown_provider_is_named_with_a_guess(make: Any) -> None:
    expert = make(model="antropic/claude")
    error = fail(expert)
    assert isinstance(error, ExpertUnavailable)
    assert "no provider for `antropic/claude`" in str(error)
    assert "`anthropic`" in str(error)
    assert not expert.awake


def test_starting_with_an_unknown_provider_fails_too(make: Any) -> None:
    with pytest.raises(ExpertUnavailable, match="no provider"):
        asyncio.run(make(model="antropic/claude").start())


def test_what_the_provider_cannot_do_is_refused_not_left_out(make: Any) -> None:
    # Anthropic answers once, whatever `n` says: leaving it out would be another answer than asked for.
    error = fail(make(model="anthropic/claude-sonnet-4-5", api_key="key"), n=2)
    assert isinstance(error, ExpertRejected)
    assert (error.status, error.param) == (400, "n")


def test_hints_are_refused_when_told_so(make: Any) -> None:
    expert = make(model="anthropic/claude-sonnet-4-5", api_key="key", drop_unsupported=False)
    error = fail(expert, seed=1)
    assert isinstance(error, ExpertRejected)
    assert error.status == 400
    assert "seed" in str(error)


# --- exceptions that no fake upstream brings about


class Failed(Exception):
    def __init__(self, text: str = "", **facts: Any) -> None:
        super().__init__(text)
        self.__dict__.update(facts)


class ContextWindowExceededError(Failed):
    pass


class APIResponseValidationError(Failed):
    pass


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_statuses_that_are_the_operators_business(status: int) -> None:
    error = expert_error(Failed("key sk-123 is wrong", status_code=status), "lite")
    assert type(error) is ExpertUnavailable
    assert "sk-123" not in str(error)


def test_a_prompt_that_is_too_long_names_the_messages() -> None:
    error = expert_error(ContextWindowExceededError("too long", status_code=400), "lite")
    assert isinstance(error, ExpertRejected)
    assert error.param == "messages"


def test_an_invalid_response_is_a_protocol_error() -> None:
    error = expert_error(APIResponseValidationError("odd", status_code=500), "lite")
    assert type(error) is ExpertProtocolError


def test_secrets_prefixes_and_tracebacks_are_taken_out_of_messages() -> None:
    text = "litellm.APIConnectionError: VertexException - key s3cret\nTraceback (most recent call last):\n x"
    error = expert_error(Failed(text, status_code=500), "lite", frozenset({"s3cret"}))
    assert str(error) == "`lite` failed: key ***"


def test_the_innermost_failure_counts() -> None:
    inner = Failed("slow down", status_code=429, litellm_response_headers={"retry-after": "3"})
    error = expert_error(Failed("wrapper", status_code=503, original_exception=inner), "lite")
    assert isinstance(error, ExpertOverloaded)
    assert error.retry_after_s == 3


def test_an_exception_without_words_still_says_something() -> None:
    assert str(expert_error(ValueError(), "lite")) == "`lite` failed: ValueError"
