"""The types that users of the SDK see; checked by pyright, never run."""

from typing import assert_type

from coe import AsyncClient, Client, Router, __version__
from coe.client import Answer, AsyncStream, Routing, Stream
from coe.contracts import Decision, Reason
from coe.engine import Routed
from coe.wire import ModelInfo, Usage


def decides(router: Router) -> None:
    assert_type(router.route("hello"), Decision)
    assert_type(router.route(messages=[{"role": "user", "content": "hello"}], tools=[]), Decision)
    assert_type(router.route_batch(["one", "two"]), list[Decision])


def answers(client: Client) -> None:
    answer = client.chat("hello", temperature=0)
    assert_type(answer, Answer)
    assert_type(answer.text, str)
    assert_type(answer.usage, Usage | None)
    assert_type(answer.routing, Routing)
    assert_type(answer.routing.reason, Reason | None)
    assert_type(client.chat("hello", stream=False), Answer)
    stream = client.chat("hello", stream=True)
    assert_type(stream, Stream)
    assert_type(list(stream), list[str])
    assert_type(client.route("hello"), Routed)
    assert_type(client.models(), list[ModelInfo])


async def answers_asynchronously(client: AsyncClient) -> None:
    assert_type(await client.chat("hello"), Answer)
    stream = await client.chat("hello", stream=True)
    assert_type(stream, AsyncStream)
    assert_type([text async for text in stream], list[str])
    assert_type(await client.route("hello"), Routed)


def opens() -> None:
    with Client.open("coe.yaml") as client, Client(api_key="key") as other:
        assert_type(client, Client)
        assert_type(other, Client)
    assert_type(Router.open(), Router)
    assert_type(__version__, str)
