"""The fake upstream answers as a real one does, over real sockets."""

import asyncio
import json
import signal
import subprocess
import sys
from typing import Any

import httpx
import openai
import pytest

from coe.testing import FakeUpstream, Fault, Framing, events


def payload(text: str = "hello there", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


async def post(client: httpx.AsyncClient, upstream: FakeUpstream, **fields: Any) -> httpx.Response:
    return await client.post(f"{upstream.base_url}/chat/completions", json=payload(**fields))


def said(response: httpx.Response) -> str:
    return response.json()["choices"][0]["message"]["content"]


def test_echoes_the_last_user_message_and_the_model() -> None:
    async def check() -> None:
        async with FakeUpstream() as upstream, httpx.AsyncClient(verify=False) as client:
            messages = [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "ok"},
                {"role": "user", "content": [{"type": "text", "text": "nonce-1"}, {"type": "image_url"}]},
            ]
            response = await client.post(
                f"{upstream.base_url}/chat/completions", json={"model": "gpt-x", "messages": messages}
            )
            assert said(response) == "nonce-1"
            assert response.json()["model"] == "gpt-x"
            assert response.json()["usage"] == {
                "prompt_tokens": 3,
                "completion_tokens": 1,
                "total_tokens": 4,
            }

    asyncio.run(check())


def test_the_openai_sdk_reads_answers_and_streams() -> None:
    async def check() -> None:
        async with (
            FakeUpstream(models=["a", "b"]) as upstream,
            openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k") as client,
        ):
            messages: Any = [{"role": "user", "content": "one two  three\n"}]
            whole = await client.chat.completions.create(model="a", messages=messages)
            assert whole.choices[0].message.content == "one two  three\n"
            stream = await client.chat.completions.create(
                model="a", messages=messages, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == "one two  three\n"
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.total_tokens == 6
            assert [model.id async for model in await client.models.list()] == ["a", "b"]
            assert upstream.received[0].header("Authorization") == "Bearer k"

    asyncio.run(check())


def test_says_what_it_is_told_tool_calls_included() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    def answer(body: dict[str, Any]) -> str | dict[str, Any]:
        if body.get("tools"):
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        return "plain"

    async def check() -> None:
        async with FakeUpstream(answer=answer) as upstream, httpx.AsyncClient(verify=False) as client:
            assert said(await post(client, upstream)) == "plain"
            choice = (await post(client, upstream, tools=[{"type": "function"}])).json()["choices"][0]
            assert choice["message"]["tool_calls"] == [call]
            assert choice["finish_reason"] == "tool_calls"
            streamed = await post(client, upstream, tools=[{"type": "function"}], stream=True)
            deltas = [json.loads(event)["choices"][0]["delta"] for event in events(streamed.content)[:-1]]
            assert {"tool_calls": [call]} in deltas
            upstream.answer = "changed"
            assert said(await post(client, upstream)) == "changed"

    asyncio.run(check())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("framing", list(Framing))
def test_every_framing_delimits_the_body(framing: Framing, stream: bool) -> None:
    async def check() -> None:
        async with FakeUpstream(framing=framing) as upstream, httpx.AsyncClient(verify=False) as client:
            for number in range(3):
                response = await post(client, upstream, text=f"nonce-{number}", stream=stream)
                assert f"nonce-{number}" in response.text
            expected = {
                Framing.AUTO: {"transfer-encoding"} if stream else {"content-length"},
                Framing.LENGTH: {"content-length"},
                Framing.CHUNKED: {"transfer-encoding"},
                Framing.CLOSE: set[str](),
            }[framing]
            assert {"transfer-encoding", "content-length"} & set(response.headers) == expected
            assert response.http_version == ("HTTP/1.0" if framing is Framing.CLOSE else "HTTP/1.1")
            assert upstream.connections == (3 if framing is Framing.CLOSE else 1)

    asyncio.run(check())


def test_records_what_it_received() -> None:
    async def check() -> None:
        async with FakeUpstream(keep=2) as upstream, httpx.AsyncClient(verify=False) as client:
            for number in range(3):
                await post(client, upstream, text=str(number), seed=number)
            assert upstream.served == 3
            assert [request.json()["seed"] for request in upstream.received] == [1, 2]
            last = upstream.received[-1]
            assert (last.method, last.path) == ("POST", "/v1/chat/completions")
            assert last.header("Content-Type") == "application/json"
            assert last.header("x-absent") is None
            assert [request.on_connection for request in upstream.received] == [1, 2]

    asyncio.run(check())


def test_pipelined_requests_are_answered_in_order() -> None:
    def raw(text: str) -> bytes:
        body = json.dumps(payload(text)).encode()
        return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )

    async def check() -> None:
        async with FakeUpstream(Fault.SLOW_HEADERS, delay_s=0.001) as upstream:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(upstream.url.rpartition(":")[2]))
            both = raw("nonce-1") + raw("nonce-2")
            writer.write(both[:100])
            await writer.drain()
            writer.write(both[100:])
            answers: list[str] = []
            for _ in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                answers.append(
                    json.loads(await reader.readexactly(length))["choices"][0]["message"]["content"]
                )
            assert answers == ["nonce-1", "nonce-2"]
            writer.close()
            await writer.wait_closed()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "invalid_json"),
        ("POST", "/v1/nothing", b"{}", 404, "not_found"),
        ("GET", "/v1/chat/completions", b"", 404, "not_found"),
    ],
)
def test_refuses_what_is_not_a_request(method: str, path: str, body: bytes, status: int, code: str) -> None:
    with FakeUpstream() as upstream:
        response = httpx.request(method, upstream.url + path, content=body)
        assert response.status_code == status
        assert response.json()["error"]["code"] == code


def test_refuses_what_is_not_http() -> None:
    async def check() -> None:
        async with FakeUpstream() as upstream:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(upstream.url.rpartition(":")[2]))
            writer.write(b"EHLO example.org\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
            await writer.wait_closed()

    asyncio.run(check())


def test_counts_a_client_that_goes_away_only_while_a_reply_is_under_way() -> None:
    async def check() -> None:
        async with FakeUpstream(Fault.HANG) as upstream:
            async with httpx.AsyncClient(verify=False) as client:
                request = asyncio.create_task(post(client, upstream))
                await upstream.wait_served(1)
                request.cancel()
                await upstream.wait_cancelled()
                upstream.fault = Fault.NONE
                await post(client, upstream)
            assert upstream.cancelled == 1

    asyncio.run(check())


def test_a_client_that_leaves_an_endless_stream_is_noticed() -> None:
    async def check() -> None:
        async with FakeUpstream(Fault.ENDLESS) as upstream, httpx.AsyncClient(verify=False) as client:
            async with client.stream(
                "POST", f"{upstream.base_url}/chat/completions", json=payload(stream=True)
            ) as response:
                await anext(response.aiter_bytes())
            await upstream.wait_cancelled()

    asyncio.run(check())


def test_refuses_and_accepts_again_on_the_same_port() -> None:
    async def check() -> None:
        async with FakeUpstream() as upstream, httpx.AsyncClient(verify=False) as client:
            await post(client, upstream)
            await upstream.refuse()
            await upstream.refuse()
            assert upstream.open_connections == 0
            with pytest.raises(httpx.ConnectError):
                await post(client, upstream)
            await upstream.accept()
            await upstream.accept()
            assert said(await post(client, upstream)) == "hello there"

    asyncio.run(check())


def test_runs_in_a_thread_for_synchronous_code() -> None:
    with FakeUpstream(Fault.HANG) as upstream:
        upstream.release()
        response = httpx.post(f"{upstream.base_url}/chat/completions", json=payload())
        assert said(response) == "hello there"
        upstream.run(upstream.wait_served(1))
        upstream.hold()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{upstream.base_url}/chat/completions", json=payload(), timeout=0.1)
        upstream.run(upstream.wait_cancelled())
    with pytest.raises(httpx.ConnectError):
        httpx.get(upstream.base_url)


def test_a_port_in_use_is_an_error_in_both_ways_of_starting() -> None:
    async def check(port: int) -> None:
        async with FakeUpstream(port=port):
            raise AssertionError("started on a port in use")

    with FakeUpstream() as upstream:
        port = int(upstream.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), FakeUpstream(port=port):
            pass
        with pytest.raises(OSError, match="in use"):
            asyncio.run(check(port))


def test_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "coe.testing.upstream", "--model-fault", "bad=rejected"]
    with subprocess.Popen([*command, "--answer", "Hi."], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        assert said(httpx.post(f"{base_url}/chat/completions", json=payload())) == "Hi."
        refused = httpx.post(f"{base_url}/chat/completions", json=payload() | {"model": "bad"})
        assert refused.status_code == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_process_names_a_fault_that_does_not_exist() -> None:
    command = [sys.executable, "-m", "coe.testing.upstream", "--fault", "gremlins"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "gremlins" in ended.stderr
