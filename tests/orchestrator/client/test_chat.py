"""Answers: the same at a server and in process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coe import AsyncClient, Client
from coe.contracts import Reason
from coe.wire import Usage


def test_an_answer_says_who_gave_it_and_why(client: Client) -> None:
    answer = client.chat("how are you")
    assert answer.text == "A: how are you"
    assert answer.expert == "alpha"
    assert answer.usage == Usage(prompt_tokens=4, completion_tokens=4, total_tokens=8)
    assert answer.finish_reason == "stop"
    assert answer.tool_calls == ()
    routing = answer.routing
    assert (routing.expert, routing.expert_kind, routing.category) == ("alpha", "model", "general")
    assert routing.reason is Reason.CATEGORY
    assert routing.cache in ("miss", "hit")
    assert routing.fallback_from == ()
    assert routing.decision_id.startswith("dec_")


def test_raw_is_the_whole_completion(client: Client) -> None:
    raw = client.chat("hello").raw
    assert raw["object"] == "chat.completion"
    assert raw["model"] == "alpha"
    assert raw["coe"]["expert"] == "alpha"
    assert raw["choices"][0]["message"] == {"role": "assistant", "content": "A: hello"}


def test_a_conversation_goes_on_with_the_message_of_the_answer(client: Client) -> None:
    first = client.chat("one")
    messages = [{"role": "user", "content": "one"}, first.message, {"role": "user", "content": "two"}]
    assert client.chat(messages).text == "A: two"


def test_an_expert_can_be_asked_by_name(client: Client) -> None:
    answer = client.chat("hello", model="beta")
    assert (answer.text, answer.routing.reason) == ("B: hello", Reason.REQUESTED)


def test_other_fields_travel_along(client: Client) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    assert client.chat("hello", model="fallen").expert == "beta"
    # `beta` cannot do tools, so only the router that may choose `alpha` finds somebody.
    assert client.chat("hello", tools=[tool], max_tokens=5).routing.reason is Reason.CATEGORY


def test_a_fallback_is_told(client: Client) -> None:
    answer = client.chat("hello", model="fallen")
    assert (answer.expert, answer.routing.fallback_from) == ("beta", ("down",))


def test_a_session_keeps_its_expert(client: Client) -> None:
    sums = client.chat("What is the integral of x^2 dx?", model="topical", session="s-1")
    story = client.chat("Write a short poem about autumn rain.", model="topical", session="s-1")
    other = client.chat("Write a short poem about autumn rain.", model="topical")
    assert (sums.expert, story.expert, other.expert) == ("alpha", "alpha", "beta")
    assert story.routing.reason is Reason.SESSION


def test_a_stream_is_the_text_in_pieces(client: Client) -> None:
    with client.chat("how are you", stream=True) as stream:
        assert stream.routing.expert == "alpha"
        assert list(stream) == ["A:", " how", " are", " you"]
        assert stream.answer.text == "A: how are you"
        assert stream.answer.finish_reason == "stop"
        assert stream.answer.raw["model"] == "alpha"
        assert stream.answer.message == {"role": "assistant", "content": "A: how are you"}


def test_a_stream_can_be_left_early(client: Client) -> None:
    with client.chat("one two three", stream=True) as stream:
        assert next(stream) == "A:"
        assert stream.answer.text == "A:"
        assert stream.answer.finish_reason is None
    assert client.chat("still there").text == "A: still there"


def test_models_are_the_virtual_ones_and_the_experts(client: Client) -> None:
    infos = {info.id: info.coe for info in client.models()}
    assert list(infos)[:5] == ["auto", "topical", "fallen", "alpha", "beta"]
    assert infos["auto"] == {"kind": "virtual"}
    assert infos["alpha"]["context_window"] == 500
    assert infos["down"]["routable"] is False


def test_threads_may_share_a_client(client: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: client.chat(f"number {n}").text, range(24)))
    assert answers == [f"A: number {n}" for n in range(24)]


def test_a_client_works_inside_an_event_loop_of_the_caller(client: Client) -> None:
    async def main() -> str:
        return client.chat("hello").text

    assert asyncio.run(main()) == "A: hello"


def test_a_closed_client_says_so(pool_file: Path) -> None:
    client = Client.open(pool_file)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.chat("hello")


def test_the_asynchronous_client_at_a_server(server_url: str) -> None:
    async def main() -> None:
        async with AsyncClient(server_url + "/v1/") as client:
            await _talk(client)

    asyncio.run(main())


def test_the_asynchronous_client_in_process(pool_file: Path) -> None:
    async def main() -> None:
        async with AsyncClient.open(str(pool_file)) as client:
            await _talk(client)

    asyncio.run(main())


async def _talk(client: AsyncClient) -> None:
    answers = await asyncio.gather(*(client.chat(f"number {n}") for n in range(5)))
    assert [answer.text for answer in answers] == [f"A: number {n}" for n in range(5)]
    async with await client.chat("how are you", stream=True) as stream:
        assert [text async for text in stream] == ["A:", " how", " are", " you"]
    assert (await client.route("hello")).decision.expert == "alpha"
    assert (await client.models())[0].id == "auto"
