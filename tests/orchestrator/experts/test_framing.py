"""Replies of an upstream, cut anywhere."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from coe.events import first_end
from coe.experts._http._connection import Connection, Known

MARKS = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"data: x", b":", b"\r\n", b"\n\n", b"\r\n\r\n"]), max_size=12)
)
def test_an_event_ends_at_the_first_empty_line(parts: list[bytes]) -> None:
    data = b"".join(parts)
    end = first_end(data)
    found = [match.end() for at in range(len(data)) if (match := MARKS.match(data, at))]
    assert end == min(found, default=-1)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_the_end_of_an_event_does_not_depend_on_what_comes_after(parts: list[bytes]) -> None:
    seen = b""
    first = -1
    for part in parts:
        seen += part
        end = first_end(seen)
        assert first in (-1, end)
        first = end


class Wire(asyncio.Transport):
    """What a connection writes to, and is read from."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def framed(pieces: list[bytes], chunked: bool) -> bytes:
    if chunked:
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body
    body = b"".join(pieces)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.booleans(),
    st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_a_reply_is_the_same_however_it_is_cut(
    pieces: list[bytes], chunked: bool, interim: bytes, cuts: list[int]
) -> None:
    async def main() -> None:
        connection = Connection(asyncio.get_running_loop(), Known())
        connection.connection_made(cast("asyncio.BaseTransport", Wire()))
        for _ in range(2):  # the second over the same connection
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            raw = interim + framed(pieces, chunked)
            at = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
            received = b""
            for start, end in pairwise(at):
                connection.data_received(raw[start:end])
            while not connection.headers_done:
                await connection.wait_some()
            while not connection.complete:
                received += connection.take()
                await connection.wait_some()
            received += connection.take()
            assert connection.status == 200
            assert received == b"".join(pieces)
            assert connection.complete
            assert connection.reusable

    asyncio.run(main())
