"""Limits in the words of OpenAI's API."""

from __future__ import annotations

import pytest

from coe.tenants._levels import Levels


def test_headers_after_a_request() -> None:
    levels = Levels(60, 1000, requests_s=10, tokens_s=0, tokens=100)
    assert levels.admit()
    assert levels.headers(admitted=True) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "49",
        "x-ratelimit-reset-requests": "11s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "6s",
    }


def test_only_limits_that_there_are() -> None:
    assert Levels(0, 0, 0, 0, 5).headers(admitted=True) == {}
    assert Levels(0, 0, 0, 0, 5).admit()
    assert set(Levels(0, 9, 0, 0, 5).headers(admitted=True)) == {
        f"x-ratelimit-{each}-tokens" for each in ("limit", "remaining", "reset")
    }


def test_a_refusal_says_what_and_when() -> None:
    error = Levels(60, 1000, requests_s=59.75, tokens_s=0, tokens=0).refusal()
    assert str(error) == "The limit of 60 requests a minute is reached. Try again in 750ms."
    assert error.retry_after_s == pytest.approx(0.75)
    assert error.limits["x-ratelimit-remaining-requests"] == "0"
    assert error.limits["x-ratelimit-reset-requests"] == "1m0s"


def test_the_longer_wait_counts() -> None:
    error = Levels(60, 1000, requests_s=59.5, tokens_s=60, tokens=500).refusal()
    assert "1000 tokens a minute" in str(error)
    assert error.retry_after_s == pytest.approx(30)


def test_a_request_that_never_fits_is_not_told_to_come_back() -> None:
    levels = Levels(0, 100, 0, 0, tokens=101)
    assert not levels.admit()
    error = levels.refusal()
    assert "needs about 101 tokens; the limit is 100 a minute" in str(error)
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    ("missing_s", "text"), [(0, "0ms"), (0.0201, "21ms"), (1, "1s"), (59.2, "1m0s"), (361, "6m1s")]
)
def test_durations(missing_s: float, text: str) -> None:
    assert Levels(60, 0, missing_s, 0, 0).headers(admitted=False)["x-ratelimit-reset-requests"] == text
