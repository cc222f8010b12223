"""What a stream says of its usage, where only coe has asked for it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.tenants._usage import UsageFilter

_USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
_SEPARATORS = st.sampled_from([(",", ":"), (", ", ": ")])
_ENDS = st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"])


def event(data: dict[str, Any], separators: tuple[str, str], end: str) -> bytes:
    return f"data: {json.dumps(data, separators=separators)}{end}".encode()


def passed(stream: bytes, cuts: list[int]) -> tuple[bytes, UsageFilter]:
    """What the filter passes on of a stream that comes in these pieces."""
    told = UsageFilter()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    got = b"".join(told.feed(stream[a:b]) for a, b in pairwise(bounds))
    return got + told.rest(), told


@given(
    words=st.lists(st.sampled_from(["hi", ',"usage":null', '"usage": {}', "é", "\n\n"]), max_size=4),
    separators=_SEPARATORS,
    end=_ENDS,
    cuts=st.lists(st.integers(0, 2000), max_size=6),
)
def test_nothing_of_the_usage_is_left_and_all_of_the_answer_is(
    words: list[str], separators: tuple[str, str], end: str, cuts: list[int]
) -> None:
    chunks = [{"choices": [{"delta": {"content": word}}]} for word in words]
    sent = [event({**chunk, "usage": None}, separators, end) for chunk in chunks]
    sent.append(event({"choices": [], "usage": _USAGE}, separators, end))
    wanted = [event(chunk, separators, end) for chunk in chunks]
    done = b"data: [DONE]\n\n"
    got, told = passed(b"".join(sent) + done, cuts)
    assert got == b"".join(wanted) + done
    assert told.usage is not None
    assert told.usage.completion_tokens == 4


@pytest.mark.parametrize("rest", [b"data: [DONE]", b'data: {"choices": [], "usa', b""])
def test_what_has_no_end_is_passed_on_at_the_end(rest: bytes) -> None:
    whole = b'data: {"choices":[{"delta":{}}]}\n\n'
    got, _ = passed(whole + rest, [])
    assert got == whole + rest
