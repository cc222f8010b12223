"""Each fault does on the wire what its name says, seen from a plain socket or from httpx."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from coe.testing import FakeUpstream, Fault, events


async def ask(upstream: FakeUpstream, *, stream: bool = False, model: str = "m") -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as client:
        return await _post(client, upstream, stream=stream, model=model)


async def _post(
    client: httpx.AsyncClient, upstream: FakeUpstream, *, stream: bool = False, model: str = "m"
) -> httpx.Response:
    messages = [{"role": "user", "content": "alpha beta gamma"}]
    body = {"model": model, "messages": messages, "stream": stream}
    return await client.post(f"{upstream.base_url}/chat/completions", json=body)


async def raw(upstream: FakeUpstream, *, stream: bool = False) -> tuple[bytes, Exception | None]:
    """All bytes until the connection ended, and the error that it ended with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(upstream.url.rpartition(":")[2]))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a b c"}], "stream": stream})
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}".encode()
    )
    got, error = b"", None
    try:
        while data := await reader.read(65536):
            got += data
    except ConnectionError as caught:
        error = caught
    writer.close()
    return got, error


def run(check: Any, fault: Fault, **settings: Any) -> None:
    async def inside() -> None:
        async with asyncio.timeout(20), FakeUpstream(fault, **settings) as upstream:
            await check(upstream)

    asyncio.run(inside())


@pytest.mark.parametrize(
    "fault",
    [
        Fault.NONE,
        Fault.SLOW_HEADERS,
        Fault.SLOW_TOKENS,
        Fault.SPLIT,
        Fault.INTERIM,
        Fault.CLOSE_AFTER_REPLY,
        Fault.CLOSE_ON_REUSE,
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_demanding_faults_still_give_a_correct_answer(fault: Fault, stream: bool) -> None:
    async def check(upstream: FakeUpstream) -> None:
        response = await ask(upstream, stream=stream)
        if stream:
            *chunks, done = events(response.content)
            assert done == b"[DONE]"
            texts = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
            assert "".join(texts) == "alpha beta gamma"
        else:
            assert response.json()["choices"][0]["message"]["content"] == "alpha beta gamma"

    run(check, fault, delay_s=0.001)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.SERVER_ERROR, 500),
        (Fault.UNAVAILABLE, 503),
        (Fault.OVERLOADED, 429),
        (Fault.REJECTED, 400),
        (Fault.UNAUTHORIZED, 401),
    ],
)
def test_refusals_have_a_status_and_say_why(fault: Fault, status: int) -> None:
    async def check(upstream: FakeUpstream) -> None:
        response = await ask(upstream, stream=True)
        assert response.status_code == status
        assert ("retry-after" in response.headers) == (fault is Fault.OVERLOADED)
        if fault is Fault.UNAVAILABLE:
            assert response.text.startswith("<h1>")
        else:
            assert response.json()["error"]["message"]

    run(check, fault, retry_after_s=2.5)


def test_overloaded_asks_for_the_time_it_was_given() -> None:
    async def check(upstream: FakeUpstream) -> None:
        assert (await ask(upstream)).headers["retry-after"] == "7"

    run(check, Fault.OVERLOADED, retry_after_s=7)


@pytest.mark.parametrize("stream", [False, True])
def test_reset_sends_nothing_and_resets(stream: bool) -> None:
    async def check(upstream: FakeUpstream) -> None:
        got, error = await raw(upstream, stream=stream)
        assert got == b""
        assert isinstance(error, ConnectionResetError)

    run(check, Fault.RESET)


def test_close_sends_nothing_and_ends_cleanly() -> None:
    async def check(upstream: FakeUpstream) -> None:
        assert await raw(upstream) == (b"", None)

    run(check, Fault.CLOSE)


@pytest.mark.parametrize("stream", [False, True])
def test_reset_mid_body_sends_a_part_and_resets(stream: bool) -> None:
    async def check(upstream: FakeUpstream) -> None:
        got, error = await raw(upstream, stream=stream)
        assert b"chat.completion" in got
        assert b"[DONE]" not in got
        assert isinstance(error, ConnectionResetError)

    run(check, Fault.RESET_MID_BODY)


def test_a_truncated_body_ends_before_its_length() -> None:
    async def check(upstream: FakeUpstream) -> None:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            await ask(upstream)

    run(check, Fault.TRUNCATED)


def test_a_truncated_stream_ends_cleanly_without_done() -> None:
    async def check(upstream: FakeUpstream) -> None:
        async with httpx.AsyncClient(verify=False) as client:
            for _ in range(2):
                data = events((await _post(client, upstream, stream=True)).content)
                assert data
                assert b"[DONE]" not in data
        assert upstream.connections == 1

    run(check, Fault.TRUNCATED)


def test_close_on_reuse_answers_once_per_connection() -> None:
    async def check(upstream: FakeUpstream) -> None:
        async with httpx.AsyncClient(verify=False) as client:
            assert (await _post(client, upstream)).status_code == 200
            with pytest.raises(httpx.RemoteProtocolError, match="disconnected"):
                await _post(client, upstream)

    run(check, Fault.CLOSE_ON_REUSE)


def test_close_after_reply_promises_keep_alive() -> None:
    async def check(upstream: FakeUpstream) -> None:
        response = await ask(upstream)
        assert "connection" not in response.headers
        assert (await ask(upstream)).status_code == 200
        assert upstream.connections == 2

    run(check, Fault.CLOSE_AFTER_REPLY)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
def test_hang_and_stall_go_on_when_released(fault: Fault, stream: bool) -> None:
    async def check(upstream: FakeUpstream) -> None:
        request = asyncio.create_task(ask(upstream, stream=stream))
        await upstream.wait_served(1)
        done, _ = await asyncio.wait([request], timeout=0.05)
        assert not done
        upstream.release()
        response = await request
        assert response.text.endswith("[DONE]\n\n") if stream else response.json()

    run(check, fault)


def test_hang_sends_no_header_and_stall_sends_the_beginning() -> None:
    async def begin(upstream: FakeUpstream, seconds: float) -> str:
        async with (
            httpx.AsyncClient(timeout=seconds, verify=False) as client,
            client.stream(
                "POST",
                f"{upstream.base_url}/chat/completions",
                json={"model": "m", "messages": [], "stream": True},
            ) as response,
        ):
            async for text in response.aiter_text():
                return text
        return ""

    async def check(upstream: FakeUpstream) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await begin(upstream, 0.05)
        upstream.fault = Fault.STALL
        assert "chat.completion.chunk" in await begin(upstream, 10)

    run(check, Fault.HANG)


def test_malformed_bodies_and_events_are_not_json() -> None:
    async def check(upstream: FakeUpstream) -> None:
        with pytest.raises(json.JSONDecodeError):
            (await ask(upstream)).json()
        *data, done = events((await ask(upstream, stream=True)).content)
        assert done == b"[DONE]"
        for each in data:
            with pytest.raises(json.JSONDecodeError):
                json.loads(each)

    run(check, Fault.MALFORMED)


def test_an_error_frame_comes_after_the_first_tokens() -> None:
    async def check(upstream: FakeUpstream) -> None:
        data = [json.loads(event) for event in events((await ask(upstream, stream=True)).content)]
        assert data[0]["object"] == "chat.completion.chunk"
        assert data[-1]["error"]["type"] == "server_error"
        assert (await ask(upstream)).status_code == 500

    run(check, Fault.ERROR_FRAME)


def test_wrong_content_type_and_not_http() -> None:
    async def check(upstream: FakeUpstream) -> None:
        response = await ask(upstream)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/html")
        upstream.fault = Fault.NOT_HTTP
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(upstream)

    run(check, Fault.WRONG_CONTENT_TYPE)


@pytest.mark.parametrize("stream", [False, True])
def test_a_huge_body_is_as_huge_as_said(stream: bool) -> None:
    async def check(upstream: FakeUpstream) -> None:
        response = await ask(upstream, stream=stream)
        assert response.text.count("x") >= 300_000

    run(check, Fault.HUGE_BODY, huge_bytes=300_000)


@pytest.mark.parametrize("stream", [False, True])
def test_an_endless_body_waits_for_a_slow_reader(stream: bool) -> None:
    async def check(upstream: FakeUpstream) -> None:
        async with (
            httpx.AsyncClient(verify=False) as client,
            client.stream(
                "POST",
                f"{upstream.base_url}/chat/completions",
                json={"model": "m", "messages": [], "stream": stream},
            ) as response,
        ):
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > 200_000:
                    break
        await upstream.wait_cancelled()

    run(check, Fault.ENDLESS)


def test_a_script_comes_before_models_and_models_before_the_rest() -> None:
    async def check(upstream: FakeUpstream) -> None:
        upstream.script(Fault.REJECTED, Fault.NONE)
        assert (await ask(upstream)).status_code == 400
        assert (await ask(upstream)).status_code == 200
        assert (await ask(upstream, model="bad")).status_code == 401
        assert (await ask(upstream)).status_code == 500
        upstream.fault = Fault.NONE
        upstream.faults.clear()
        assert (await ask(upstream, model="bad")).status_code == 200

    run(check, Fault.SERVER_ERROR, faults={"bad": Fault.UNAUTHORIZED})


def test_refuse_is_of_the_whole_server() -> None:
    async def check(upstream: FakeUpstream) -> None:
        with pytest.raises(httpx.ConnectError):
            await ask(upstream)
        await upstream.accept()
        assert (await ask(upstream)).status_code == 200
        with pytest.raises(ValueError, match="whole server"):
            upstream.fault = Fault.REFUSE
        with pytest.raises(ValueError, match="whole server"):
            upstream.script(Fault.REFUSE)

    run(check, Fault.REFUSE)
    with pytest.raises(ValueError, match="whole server"):
        FakeUpstream(faults={"m": Fault.REFUSE})


def test_a_fault_is_named_as_on_the_command_line() -> None:
    assert Fault("reset-mid-body") is Fault.RESET_MID_BODY
    assert all(fault == fault.name.lower().replace("_", "-") for fault in Fault)
