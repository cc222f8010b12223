"""Answers through litellm's openai provider, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from coe.testing import FakeUpstream, Fault, build, chat, context
from coe.wire import Usage

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = {
    "index": 0,
    "id": "call-1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}


def call_a_tool(payload: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [CALL]}


def run(expert: Any, use: Callable[[], Awaitable[Any]]) -> Any:
    async def _run() -> Any:
        try:
            return await use()
        finally:
            await expert.aclose()

    return asyncio.run(_run())


async def pieces_of(reply: Any) -> list[dict[str, Any]]:
    pieces = [piece async for piece in reply.chunks]
    assert pieces.pop() == b"data: [DONE]\n\n"
    return [msgspec.json.decode(piece.removeprefix(b"data: ")) for piece in pieces]


@pytest.fixture
def expert(make: Any, upstream: FakeUpstream) -> Any:
    return make(model="openai/gpt-4o", api_key="key", api_base=upstream.base_url)


def test_a_whole_answer_with_usage_and_cost(expert: Any) -> None:
    reply = run(expert, lambda: expert.complete(chat("one two three"), context()))

    body = json.loads(reply.body)
    assert body["choices"] == [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "one two three"}}
    ]
    assert reply.usage == Usage(prompt_tokens=3, completion_tokens=3, total_tokens=6)
    assert reply.cost_usd == pytest.approx(3 * 2.5e-6 + 3 * 10e-6)


def test_a_streamed_answer_with_usage_and_cost(expert: Any) -> None:
    async def use() -> Any:
        reply = await expert.complete(
            chat("one two three", stream=True, stream_options={"include_usage": True}), context()
        )
        return reply, await pieces_of(reply)

    reply, chunks = run(expert, use)
    text = "".join(choice["delta"].get("content") or "" for each in chunks for choice in each["choices"])
    assert text == "one two three"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 6
    assert "cost" not in chunks[-1]["usage"]
    assert reply.usage == Usage(prompt_tokens=3, completion_tokens=3, total_tokens=6)
    assert reply.cost_usd == pytest.approx(3 * 2.5e-6 + 3 * 10e-6)


def test_usage_is_asked_for_but_not_shown_to_a_client_that_did_not(
    expert: Any, upstream: FakeUpstream
) -> None:
    async def use() -> Any:
        reply = await expert.complete(chat("one two", stream=True), context())
        return reply, await pieces_of(reply)

    reply, chunks = run(expert, use)
    assert not any("usage" in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)
    assert reply.usage == Usage(prompt_tokens=2, completion_tokens=2, total_tokens=4)
    assert upstream.received[-1].json()["stream_options"] == {"include_usage": True}


def test_tools_go_out_and_calls_come_back(expert: Any, upstream: FakeUpstream) -> None:
    upstream.answer = call_a_tool
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call-1", "content": "rain"},
        {"role": "user", "content": "And tomorrow?"},
    ]
    request = chat(messages, tools=TOOLS, tool_choice="required")
    reply = run(expert, lambda: expert.complete(request, context()))

    choice = json.loads(reply.body)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == CALL["function"]
    sent = upstream.received[-1].json()
    assert sent["tools"] == TOOLS
    assert sent["tool_choice"] == "required"
    assert sent["messages"][1]["tool_calls"][0]["function"] == CALL["function"]
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "call-1", "content": "rain"}


def test_streamed_tool_calls(expert: Any, upstream: FakeUpstream) -> None:
    upstream.answer = call_a_tool

    async def use() -> Any:
        return await pieces_of(await expert.complete(chat("Weather?", tools=TOOLS, stream=True), context()))

    choices = [chunk["choices"][0] for chunk in run(expert, use)]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert [(call["index"], call["id"], call["function"]) for call in calls] == [
        (0, "call-1", CALL["function"])
    ]
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_images_and_formats_go_out_unchanged(expert: Any, upstream: FakeUpstream) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"type": "object"}}}
    request = chat([{"role": "user", "content": parts}], response_format=form, seed=7, top_k=3)
    run(expert, lambda: expert.complete(request, context()))

    sent = upstream.received[-1].json()
    assert sent["messages"][0]["content"] == parts
    assert sent["response_format"] == form
    assert (sent["seed"], sent["top_k"], sent["model"]) == (7, 3, "gpt-4o")


def test_a_client_cannot_reach_litellms_own_arguments(make: Any, upstream: FakeUpstream) -> None:
    # `server.extra_fields` may let any field through; none of these may steer litellm.
    expert = make(model="openai/gpt-4o", api_key="key", api_base=upstream.base_url)
    smuggled = {"api_base": "http://127.0.0.1:9/v1", "api_key": "theirs", "mock_response": "forged"}
    request = chat("hello")
    request.payload.update(smuggled, metadata={"user_api_key": "x"})
    reply = run(expert, lambda: expert.complete(request, context()))

    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "hello"
    received = upstream.received[-1]
    assert received.header("authorization") == "Bearer key"
    assert received.json()["api_base"] == smuggled["api_base"]
    assert received.json()["metadata"] == {"user_api_key": "x"}


def test_headers_parameters_and_trace_go_out(make: Any, upstream: FakeUpstream) -> None:
    expert = make(
        model="openai/gpt-4o",
        api_key="key",
        api_base=upstream.base_url,
        headers={"x-team": "blue"},
        params={"temperature": 0.5, "top_p": 0.5, "extra_body": {"house": "rule"}},
    )
    asked = context()
    traced = type(asked)(
        tenant="t", request_id="r", deadline=asked.deadline, clock=asked.clock, traceparent="00-ab-cd-01"
    )
    run(expert, lambda: expert.complete(chat("hello", temperature=0), traced))

    received = upstream.received[-1]
    assert received.header("x-team") == "blue"
    assert received.header("traceparent") == "00-ab-cd-01"
    sent = received.json()
    assert (sent["temperature"], sent["top_p"], sent["house"]) == (0, 0.5, "rule")


def test_the_users_prices_come_before_the_price_map(make: Any, upstream: FakeUpstream) -> None:
    prices = {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 1000.0}
    expert = make(model="openai/gpt-4o", api_key="key", api_base=upstream.base_url, card=prices)
    reply = run(expert, lambda: expert.complete(chat("one two"), context()))
    assert reply.cost_usd == pytest.approx((2 * 100 + 2 * 1000) / 1e6)


def test_cached_tokens_cost_what_the_price_map_says(make: Any, upstream: FakeUpstream) -> None:
    expert = make(model="openai/gpt-4o", api_key="key", api_base=upstream.base_url)

    async def use() -> tuple[float | None, float | None]:
        await expert.start()
        target = await expert._ready()
        import litellm

        usage = litellm.Usage(
            prompt_tokens=1000,
            completion_tokens=0,
            total_tokens=1000,
            prompt_tokens_details={"cached_tokens": 1000},
        )
        tokens = Usage(prompt_tokens=1000, total_tokens=1000)
        return expert._tariff.cost_usd(target.sdk, tokens, usage, None), 1000 * 1.25e-6

    cost, expected = run(expert, use)
    assert cost == pytest.approx(expected)


def test_an_unknown_model_has_no_cost(make: Any, upstream: FakeUpstream) -> None:
    expert = make(model="openai/nobody-priced-this", api_key="key", api_base=upstream.base_url)
    assert expert.card.input_usd_per_mtok is None
    reply = run(expert, lambda: expert.complete(chat("one two"), context()))
    assert reply.cost_usd is None
    assert reply.usage is not None


def test_one_expert_may_go_while_another_stays(make: Any, upstream: FakeUpstream) -> None:
    first, second = (make(model="openai/gpt-4o", api_key="key", api_base=upstream.base_url) for _ in range(2))

    async def use() -> Any:
        await first.complete(chat("hello"), context())
        await second.complete(chat("hello"), context())
        await first.aclose()
        return await second.complete(chat("still there"), context())

    reply = run(second, use)
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "still there"
    assert upstream.open_connections == 0


@pytest.mark.parametrize("taken", [0, 1])
def test_closing_a_stream_closes_the_connection_to_the_provider(
    expert: Any, upstream: FakeUpstream, taken: int
) -> None:
    upstream.fault = Fault.STALL

    async def use() -> None:
        reply = await expert.complete(chat("one two three", stream=True), context())
        for _ in range(taken):
            await anext(reply.chunks)
        await reply.chunks.aclose()
        await asyncio.to_thread(upstream.run, upstream.wait_cancelled())

    run(expert, use)
    assert upstream.cancelled == 1


def test_cancelling_a_call_closes_the_connection_to_the_provider(expert: Any, upstream: FakeUpstream) -> None:
    upstream.fault = Fault.HANG

    async def use() -> None:
        await expert.start()
        task = asyncio.ensure_future(expert.complete(chat("hello"), context()))
        await asyncio.to_thread(upstream.run, upstream.wait_served(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(upstream.run, upstream.wait_cancelled())

    run(expert, use)
    assert upstream.cancelled == 1


def test_build_lays_the_users_card_over_the_facts(make: Any) -> None:
    expert = make(model="openai/gpt-4o", card={"domains": ("maths",), "context_window": 1000})
    assert (expert.card.domains, expert.card.context_window) == (("maths",), 1000)
    assert "vision" in expert.card.capabilities
    assert build().card(expert.card) == expert.card
