"""A provider that does not speak OpenAI's protocol: everything is translated both ways."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from coe.errors import ExpertError, ExpertOverloaded
from coe.testing import chat, context
from coe.wire import Usage

TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "Weather", "parameters": {"type": "object"}},
    }
]
USAGE = {"input_tokens": 12, "output_tokens": 5}
WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
    ],
    "stop_reason": "tool_use",
    "usage": USAGE,
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**WHOLE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "see."}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"city":'},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": ' "Oslo"}'},
    },
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


class Anthropic(ThreadingHTTPServer):
    """Answers Anthropic's Messages API."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.fetched: list[str] = []
        self.overloaded = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Anthropic

    def do_GET(self) -> None:
        self.server.fetched.append(self.path)
        self._send(200, "image/png", "private")

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((headers, payload))
        if self.server.overloaded:
            error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}
            self._send(429, "application/json", json.dumps(error), **{"retry-after": "9"})
        elif payload.get("stream"):
            lines = (f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in EVENTS)
            self._send(200, "text/event-stream", "".join(lines))
        else:
            self._send(200, "application/json", json.dumps(WHOLE))

    def _send(self, status: int, content_type: str, text: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def anthropic() -> Iterator[Anthropic]:
    with Anthropic() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def expert(make: Any, anthropic: Anthropic) -> Any:
    return make(model="anthropic/claude-sonnet-4-5", api_key="key", api_base=anthropic.url)


def ask(expert: Any, **fields: Any) -> tuple[Any, list[dict[str, Any]]]:
    async def use() -> tuple[Any, list[dict[str, Any]]]:
        try:
            messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
            reply = await expert.complete(chat(messages, tools=TOOLS, **fields), context())
            if reply.body is not None:
                return reply, [json.loads(reply.body)]
            pieces = [piece async for piece in reply.chunks]
            assert pieces.pop() == b"data: [DONE]\n\n"
            return reply, [msgspec.json.decode(piece.removeprefix(b"data: ")) for piece in pieces]
        finally:
            await expert.aclose()

    return asyncio.run(use())


def test_a_whole_answer_with_a_tool_call(expert: Any, anthropic: Anthropic) -> None:
    # `seed` and `logit_bias` are hints that Anthropic does not know.
    reply, (body,) = ask(expert, seed=1, logit_bias={"5": 1})

    choice = body["choices"][0]
    assert body["object"] == "chat.completion"
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see."
    (call,) = choice["message"]["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("toolu_1", "function", "weather")
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert reply.usage == Usage(prompt_tokens=12, completion_tokens=5, total_tokens=17)
    assert reply.cost_usd == pytest.approx(12 * 3e-6 + 5 * 15e-6)

    headers, sent = anthropic.received[-1]
    assert headers["x-api-key"] == "key"
    assert sent["model"] == "claude-sonnet-4-5"
    assert sent["tools"][0]["name"] == "weather"
    assert "Be brief." in json.dumps(sent["system"])
    assert not {"seed", "logit_bias"} & set(sent)


def test_a_streamed_answer_with_a_tool_call(expert: Any) -> None:
    reply, chunks = ask(expert, stream=True, stream_options={"include_usage": True})

    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Let me see."
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    assert {call["index"] for call in calls} == {0}
    assert [call["id"] for call in calls if call.get("id")] == ["toolu_1"]
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Oslo"}
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 17
    assert reply.usage == Usage(prompt_tokens=12, completion_tokens=5, total_tokens=17)
    assert reply.cost_usd == pytest.approx(12 * 3e-6 + 5 * 15e-6)


@pytest.mark.parametrize("stream", [False, True])
def test_overload(expert: Any, anthropic: Anthropic, stream: bool) -> None:
    anthropic.overloaded = True
    with pytest.raises(ExpertOverloaded) as caught:
        ask(expert, stream=stream)
    assert caught.value.retry_after_s == 9
    assert len(anthropic.received) == 1


def test_images_are_not_fetched_from_private_addresses(expert: Any, anthropic: Anthropic) -> None:
    # litellm fetches images itself where a provider takes none by address: not from inside our network.
    image = {"type": "image_url", "image_url": {"url": f"{anthropic.url}/private.png"}}

    async def use() -> None:
        try:
            await expert.complete(chat([{"role": "user", "content": [image]}]), context())
        finally:
            await expert.aclose()

    with pytest.raises(ExpertError):
        asyncio.run(use())
    assert anthropic.fetched == []
