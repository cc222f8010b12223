import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Reply
from coe.testing import collect, events


async def _stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_reads_one_body() -> None:
    body = b'{"choices":[{"message":{"content":"hi"}}]}'
    got = asyncio.run(collect(Reply(body=body)))
    assert (got.text, got.pieces, got.done) == ("hi", [body], False)


@given(st.lists(st.integers(1, 20)))
def test_reads_a_stream_however_it_is_cut(cuts: list[int]) -> None:
    data = (
        b': keep-alive\n\ndata: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n'
        b'event: x\ndata:{"choices":[{"delta":{"content":"b"}}]}\n\n'
        b'data: {"choices":[]}\n\ndata: [DONE]\n\n'
    )
    pieces: list[bytes] = []
    rest = data
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    got = asyncio.run(collect(Reply(chunks=_stream(*pieces, rest))))
    assert (got.text, got.done, len(got.objects)) == ("ab", True, 3)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda: Reply(), "either `body` or `chunks`"),
        (lambda: Reply(body=b"{}", chunks=_stream()), "either `body` or `chunks`"),
        (lambda: Reply(body=b"{"), "Not JSON"),
        (lambda: Reply(body=b"[]"), "Not a JSON object"),
        (lambda: Reply(chunks=_stream(b"data: {}\n\ndata: [DO")), "ends within an event"),
        (lambda: Reply(chunks=_stream(b"data: [DONE]\n\ndata: {}\n\n")), "Not JSON"),
    ],
)
def test_says_what_is_wrong_with_a_reply(reply: Callable[[], Reply], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asyncio.run(collect(reply()))


def test_a_stream_without_done_is_not_done() -> None:
    assert not asyncio.run(collect(Reply(chunks=_stream(b"data: {}\n\n")))).done


def test_joins_the_data_lines_of_one_event() -> None:
    assert events(b"data: a\ndata: b\n\ndata:c\n\n") == [b"a\nb", b"c"]
