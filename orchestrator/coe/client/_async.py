"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

import msgspec

from coe.client._answer import Answer, answer_of, routing_of
from coe.client._assembly import Assembly
from coe.client._backend import DEFAULT_URL, Backend, Exchange, Prompt, payload_of
from coe.client._setup import build_engine, load_config
from coe.client._sse import read_events
from coe.config import Config
from coe.engine import Routed
from coe.errors import ExpertProtocolError
from coe.wire import ModelInfo

DEFAULT_TIMEOUT_S = 600.0
_object = msgspec.json.Decoder(dict[str, Any])


class AsyncClient:
    """Has prompts routed and answered. Use it as `async with`, or call `aclose`.

    Args:
        server: address of a coe server, with or without `/v1`; or another backend.
        api_key: the server's key, when it wants one.
        timeout_s: longest silence of the server while an answer is awaited.

    Raises:
        ConfigError: `server` is no URL.
    """

    def __init__(
        self,
        server: str | Backend = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._backend = _at_server(server, api_key, timeout_s) if isinstance(server, str) else server

    @classmethod
    def open(cls, config: Config | Path | str | None = None, *, timeout_s: float | None = None) -> Self:
        """A client with the experts of a configuration in this process, without a server.

        Experts are started when they are first asked, and stopped by `aclose`.

        Args:
            config: a configuration or the path of one; by default what `coe serve` would use.
            timeout_s: longest time for one request; by default the configuration's.

        Raises:
            UserError: the configuration is wrong, or something that it names cannot be built.
        """
        return cls(open_backend(config, timeout_s))

    @overload
    async def chat(
        self,
        messages: Prompt,
        *,
        model: str = "auto",
        stream: Literal[False] = False,
        session: str | None = None,
        **fields: Any,
    ) -> Answer: ...

    @overload
    async def chat(
        self,
        messages: Prompt,
        *,
        model: str = "auto",
        stream: Literal[True],
        session: str | None = None,
        **fields: Any,
    ) -> AsyncStream: ...

    async def chat(
        self,
        messages: Prompt,
        *,
        model: str = "auto",
        stream: bool = False,
        session: str | None = None,
        **fields: Any,
    ) -> Answer | AsyncStream:
        """Have a prompt answered by the expert that suits it.

        Args:
            messages: a text, or a conversation as OpenAI's API has it.
            model: a virtual model, which routes, or an expert by name.
            stream: return as soon as the answer begins.
            session: keeps the expert over several calls with the same value.
            fields: any other field of OpenAI's chat completions: tools, temperature, max_tokens …

        Raises:
            RequestError: the request cannot be served as asked.
            ExpertError: the experts, or the server, failed.
        """
        if stream:
            fields["stream"] = True
        exchange = await self._backend.complete(payload_of(messages, model, fields), session)
        return await _begun(exchange) if stream else _whole(exchange)

    async def route(
        self, messages: Prompt, *, model: str = "auto", session: str | None = None, **fields: Any
    ) -> Routed:
        """Decide who should answer, and ask nobody. Arguments and errors are those of `chat`."""
        return await self._backend.route(payload_of(messages, model, fields), session)

    async def models(self) -> list[ModelInfo]:
        """What `model` may be: virtual models, then experts with their facts in `coe`."""
        return await self._backend.models()

    async def aclose(self) -> None:
        """Close connections; in process, stop the experts."""
        await self._backend.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncStream(AsyncIterator[str]):
    """The text of an answer, piece by piece as it comes. Close it, or use `async with`, to leave early."""

    def __init__(
        self, events: AsyncGenerator[dict[str, Any], None], first: dict[str, Any], facts: Mapping[str, Any]
    ) -> None:
        self.routing = routing_of(facts)
        """Who answers, and why."""
        self._events = events
        self._assembly = Assembly()
        self._pending: str = self._assembly.add({**first, "coe": dict(facts), "model": self.routing.expert})

    @property
    def answer(self) -> Answer:
        """The answer so far; whole once the iteration has ended."""
        completion = {**self._assembly.completion(), "model": self.routing.expert}
        return answer_of(completion, self.routing)

    async def __anext__(self) -> str:
        text, self._pending = self._pending, ""
        while not text:
            text = self._assembly.add(await anext(self._events))
        return text

    async def aclose(self) -> None:
        """Stop the answer where it is."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def open_backend(config: Config | Path | str | None, timeout_s: float | None) -> Backend:
    """An engine in this process. Raises `UserError`."""
    from coe.client._in_process import InProcess

    settings = load_config(config)
    engine = build_engine(settings, cached=True)
    server = settings.server
    return InProcess(engine, timeout_s or server.request_timeout_s, server.extra_fields)


def _at_server(url: str, api_key: str | None, timeout_s: float) -> Backend:
    from coe.client._server import AtServer  # httpx takes 60 ms to import

    return AtServer(url, api_key, timeout_s)


def _whole(exchange: Exchange) -> Answer:
    try:
        completion = _object.decode(exchange.body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExpertProtocolError(f"The answer is no JSON object: {error}.") from error
    facts = _facts(exchange, completion)
    routing = routing_of(facts)
    return answer_of({**completion, "model": routing.expert, "coe": facts}, routing)


def _facts(exchange: Exchange, told: dict[str, Any]) -> dict[str, Any]:
    """What the body says of its routing goes before what the headers say."""
    facts: dict[str, Any] = told.get("coe") or {}
    return {**exchange.facts, **facts}


async def _begun(exchange: Exchange) -> AsyncStream:
    if exchange.chunks is None:
        raise ExpertProtocolError("A stream was asked for, and the answer is none.")
    events = read_events(exchange.chunks)
    try:
        first = await anext(events, None)
        if first is None:
            raise ExpertProtocolError("The stream holds no event.")
        return AsyncStream(events, first, _facts(exchange, first))
    except BaseException:
        await events.aclose()
        raise
