"""The openai expert against a real HTTP server that answers and fails in every way it can be told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from coe.errors import (
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)
from coe.experts._openai import OpenAIExpert, OpenAISettings, create_openai
from coe.testing import FakeUpstream, Fault, Framing, build, chat, collect, context

GOOD = [
    Fault.NONE,
    Fault.CLOSE_ON_REUSE,
    Fault.SLOW_HEADERS,
    Fault.SLOW_TOKENS,
    Fault.SPLIT,
    Fault.INTERIM,
    Fault.CLOSE_AFTER_REPLY,
]
BEFORE_FIRST_BYTE = {
    Fault.RESET: ExpertUnavailable,
    Fault.CLOSE: ExpertUnavailable,
    Fault.HANG: ExpertTimeout,
    Fault.SERVER_ERROR: ExpertUnavailable,
    Fault.UNAVAILABLE: ExpertUnavailable,
    Fault.OVERLOADED: ExpertOverloaded,
    Fault.REJECTED: ExpertRejected,
    Fault.UNAUTHORIZED: ExpertUnavailable,
    Fault.NOT_HTTP: ExpertUnavailable,
}


def run(
    scenario: Callable[[FakeUpstream, OpenAIExpert], Awaitable[None]],
    fault: Fault = Fault.NONE,
    framing: Framing = Framing.AUTO,
    **settings: object,
) -> None:
    async def main() -> None:
        async with FakeUpstream(fault, framing=framing, delay_s=0.005, huge_bytes=70_000_000) as upstream:
            given = {"base_url": upstream.base_url, "model": "fake", "api_key": "sk-secret", **settings}
            expert = create_openai("e", OpenAISettings.model_validate(given), build())
            try:
                await scenario(upstream, expert)
            finally:
                await expert.aclose()

    asyncio.run(main())


async def answer(expert: OpenAIExpert, text: str, *, stream: bool, timeout_s: float = 60) -> str:
    reply = await expert.complete(chat(text, stream=stream), context(timeout_s=timeout_s))
    return (await collect(reply)).text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("fault", GOOD)
def test_a_correct_answer_arrives_however_it_is_framed_and_broken_up(
    fault: Fault, framing: Framing, stream: bool
) -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        for number in range(3):
            assert await answer(expert, f"nonce {number}", stream=stream) == f"nonce {number}"

    run(scenario, fault, framing)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "error"), BEFORE_FIRST_BYTE.items())
def test_a_failure_before_the_first_byte_is_an_error_of_its_kind(
    fault: Fault, error: type[ExpertError], stream: bool
) -> None:
    timeout_s = 0.5 if error is ExpertTimeout else 60  # the others end by themselves

    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        with pytest.raises(error) as caught:
            await answer(expert, "x", stream=stream, timeout_s=timeout_s)
        assert caught.value.expert == "e"
        assert "sk-secret" not in str(caught.value)

    run(scenario, fault)


@pytest.mark.parametrize(
    ("fault", "stream", "error"),
    [
        (Fault.RESET_MID_BODY, False, ExpertUnavailable),
        (Fault.TRUNCATED, False, ExpertUnavailable),
        (Fault.STALL, False, ExpertTimeout),
        (Fault.HUGE_BODY, False, ExpertUnavailable),
        (Fault.MALFORMED, False, ExpertProtocolError),
        (Fault.MALFORMED, True, ExpertProtocolError),
        (Fault.WRONG_CONTENT_TYPE, False, ExpertProtocolError),
        (Fault.WRONG_CONTENT_TYPE, True, ExpertProtocolError),
        (Fault.RESET_MID_BODY, True, ExpertUnavailable),
        (Fault.TRUNCATED, True, ExpertUnavailable),
        (Fault.STALL, True, ExpertTimeout),
        (Fault.ERROR_FRAME, True, ExpertUnavailable),
    ],
)
def test_a_failure_within_the_body_is_never_taken_for_an_answer(
    fault: Fault, stream: bool, error: type[ExpertError]
) -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        with pytest.raises(error):
            await answer(expert, "several words to stream", stream=stream)

    # The others end by themselves, however long a busy machine takes.
    run(scenario, fault, idle_timeout_s=0.3 if fault is Fault.STALL else 60)


@pytest.mark.parametrize(
    ("pieces", "cut"), [(1, None), (2, None), (3, None), (1, 1), (1, 8), (1, 11), (1, 14), (1, 30)]
)
def test_an_error_event_ends_a_stream_whatever_follows_it(pieces: int, cut: int | None) -> None:
    """`cut`: it comes in two packets."""
    chunk = b'data: {"choices": [{"delta": {"content": "half {\\"error\\" of it"}}]}\n\n'
    error = b'data: {"error": {"message": "out of memory, key sk-secret"}}\n\n'
    sent = [chunk, error, b"data: [DONE]\n\n"]
    sent = [b"".join(sent[: 4 - pieces]), *sent[4 - pieces :]]
    if cut is not None:
        at = b"".join(sent).index(error) + cut
        sent = [b"".join(sent)[:at], b"".join(sent)[at:]]

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            for piece in (head, *sent):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.close()
            await writer.wait_closed()
        left.set()

    left = asyncio.Event()

    async def main() -> None:
        async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            given = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "m", "api_key": "sk-secret"}
            expert = create_openai("e", OpenAISettings.model_validate(given), build())
            reply = await expert.complete(chat("x", stream=True), context(timeout_s=20))
            got = b""
            assert reply.chunks is not None
            with pytest.raises(ExpertUnavailable) as caught:  # noqa: PT012  (what came before it counts)
                async for piece in reply.chunks:
                    got += piece
            assert got == chunk
            assert str(caught.value) == "`e` failed: out of memory, key ***"
            await expert.aclose()
            await left.wait()

    asyncio.run(main())


def test_a_refused_connection_is_unavailable() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        await upstream.refuse()
        with pytest.raises(ExpertUnavailable):
            await answer(expert, "x", stream=False)
        await upstream.accept()
        assert await answer(expert, "back", stream=False) == "back"

    run(scenario)


def test_overload_says_when_to_come_back() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        with pytest.raises(ExpertOverloaded) as caught:
            await answer(expert, "x", stream=False)
        assert caught.value.retry_after_s == 1

    run(scenario, Fault.OVERLOADED)


def test_a_refusal_of_the_request_keeps_status_and_field() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        with pytest.raises(ExpertRejected) as caught:
            await answer(expert, "x", stream=False)
        assert (caught.value.status, caught.value.param) == (400, "temperature")

    run(scenario, Fault.REJECTED)


def test_the_payload_is_forwarded_whole_with_the_servers_model_name_and_key() -> None:
    fields = {"temperature": 0.5, "tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}

    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        request = chat("hi", **fields)
        before = dict(request.payload)
        await expert.complete(request, context())
        assert request.payload == before
        sent = upstream.received[-1]
        assert sent.json() == {**before, "model": "fake"}
        assert sent.header("authorization") == "Bearer sk-secret"
        assert sent.header("x-extra") == "1"

    run(scenario, headers={"X-Extra": "1"})


def test_answers_are_never_mixed_up_among_many_at_once() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        texts = [f"nonce {number}" for number in range(200)]
        answers = await asyncio.gather(
            *(answer(expert, text, stream=bool(at % 2)) for at, text in enumerate(texts))
        )
        assert answers == texts

    run(scenario, Fault.CLOSE_AFTER_REPLY)


def test_connections_are_kept_and_used_again() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        for number in range(10):
            await answer(expert, str(number), stream=bool(number % 2))
        assert upstream.connections == 1

    run(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_closes_the_call(stream: bool) -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        task = asyncio.create_task(answer(expert, "x y z", stream=stream))
        await upstream.wait_served(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await upstream.wait_cancelled()

    run(scenario, Fault.HANG)


def test_closing_a_stream_early_closes_the_call() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        reply = await expert.complete(chat("x", stream=True), context())
        assert reply.chunks is not None
        await anext(reply.chunks)
        await reply.chunks.aclose()
        async with asyncio.timeout(5):
            await upstream.wait_cancelled()

    run(scenario, Fault.ENDLESS)


@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_known_at_the_end(stream: bool) -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        request = chat("one two three", stream=stream, stream_options={"include_usage": True})
        reply = await expert.complete(request, context())
        await collect(reply)
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 3)

    run(scenario)


def test_a_slow_reader_stops_the_sender() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        reply = await expert.complete(chat("x", stream=True), context())
        assert reply.chunks is not None
        await anext(reply.chunks)
        await asyncio.sleep(0.3)
        piece = await anext(reply.chunks)
        assert len(piece) < 2_000_000
        await reply.chunks.aclose()

    run(scenario, Fault.ENDLESS)


def test_a_passed_deadline_asks_nobody() -> None:
    async def scenario(upstream: FakeUpstream, expert: OpenAIExpert) -> None:
        with pytest.raises(ExpertTimeout):
            await answer(expert, "x", stream=False, timeout_s=-1)
        assert upstream.served == 0

    run(scenario)
