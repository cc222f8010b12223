"""The synchronous client: the asynchronous one on an event loop in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

from coe.client._answer import Answer, Routing
from coe.client._async import DEFAULT_TIMEOUT_S, AsyncClient, AsyncStream, open_backend
from coe.client._backend import DEFAULT_URL, Backend, Prompt
from coe.client._portal import Portal
from coe.config import Config
from coe.engine import Routed
from coe.wire import ModelInfo


class Client:
    """Has prompts routed and answered. Use it as `with`, or call `close`.

    It may be used from several threads at once.

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
        self._client = AsyncClient(server, api_key=api_key, timeout_s=timeout_s)
        self._portal = Portal()

    @classmethod
    def open(cls, config: Config | Path | str | None = None, *, timeout_s: float | None = None) -> Self:
        """A client with the experts of a configuration in this process, without a server.

        Experts are started when they are first asked, and stopped by `close`.

        Args:
            config: a configuration or the path of one; by default what `coe serve` would use.
            timeout_s: longest time for one request; by default the configuration's.

        Raises:
            UserError: the configuration is wrong, or something that it names cannot be built.
        """
        return cls(open_backend(config, timeout_s))

    @overload
    def chat(
        self,
        messages: Prompt,
        *,
        model: str = "auto",
        stream: Literal[False] = False,
        session: str | None = None,
        **fields: Any,
    ) -> Answer: ...

    @overload
    def chat(
        self,
        messages: Prompt,
        *,
        model: str = "auto",
        stream: Literal[True],
        session: str | None = None,
        **fields: Any,
    ) -> Stream: ...

    def chat(
        self,
        messages: Prompt,
        *,
        model: str = "auto",
        stream: bool = False,
        session: str | None = None,
        **fields: Any,
    ) -> Answer | Stream:
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
            begun = self._client.chat(messages, model=model, stream=True, session=session, **fields)
            return Stream(self._portal.call(begun), self._portal)
        return self._portal.call(
            self._client.chat(messages, model=model, stream=False, session=session, **fields)
        )

    def route(
        self, messages: Prompt, *, model: str = "auto", session: str | None = None, **fields: Any
    ) -> Routed:
        """Decide who should answer, and ask nobody. Arguments and errors are those of `chat`."""
        return self._portal.call(self._client.route(messages, model=model, session=session, **fields))

    def models(self) -> list[ModelInfo]:
        """What `model` may be: virtual models, then experts with their facts in `coe`."""
        return self._portal.call(self._client.models())

    def close(self) -> None:
        """Close connections; in process, stop the experts. Closing twice does nothing."""
        if not self._portal.closed:
            try:
                self._portal.call(self._client.aclose())
            finally:
                self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Stream(Iterator[str]):
    """The text of an answer, piece by piece as it comes. Close it, or use `with`, to leave early."""

    def __init__(self, stream: AsyncStream, portal: Portal) -> None:
        self._stream = stream
        self._portal = portal

    @property
    def routing(self) -> Routing:
        """Who answers, and why."""
        return self._stream.routing

    @property
    def answer(self) -> Answer:
        """The answer so far; whole once the iteration has ended."""
        return self._stream.answer

    def __next__(self) -> str:
        text = self._portal.call(_next(self._stream))
        if text is None:
            raise StopIteration
        return text

    def close(self) -> None:
        """Stop the answer where it is."""
        if not self._portal.closed:
            self._portal.call(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def _next(stream: AsyncStream) -> str | None:
    return await anext(stream, None)
