"""Experts behind an OpenAI-compatible HTTP server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, Field, PositiveFloat, SecretStr

from coe.contracts import Build, Capability, Card, Context, Reply
from coe.errors import (
    ConfigError,
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)
from coe.events import MAX_EVENT_BYTES, first_end
from coe.experts._http import Broken, HttpClient, Response, Silent, StatusClient
from coe.wire import ChatRequest, EmbeddingRequest, PromptRequest, Usage

if TYPE_CHECKING:
    from types import CoroutineType

    import numpy as np
    from numpy.typing import NDArray

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
_DONE_TAIL_BYTES = 32
_USAGE_TAIL_BYTES = 4096
"""Servers send the usage in one of the last events."""
_SECRET_LENGTH = 6
_MAX_PARAM_CHARACTERS = 200
_ERROR_EVENT = b'{"error"'
"""How the data of an error event begins. Within a JSON string the quotes would be escaped."""
_TELLING_BYTES = 32
"""By then an event has shown whether it begins like that."""


class OpenAISettings(BaseModel):
    """Where the server is and how to talk to it."""

    base_url: str = Field(description="URL that `/chat/completions` comes after, usually ending in /v1.")
    model: str = Field(description="Name of the model on that server.")
    api_key: SecretStr | None = Field(default=None, description="Sent as a bearer token; use ${NAME}.")
    headers: dict[str, str] = Field(default={}, description="Further headers for every request.")
    ca_file: Path | None = Field(
        default=None, description="PEM file of who may vouch for an https server, instead of the system's."
    )
    connect_timeout_s: PositiveFloat = Field(default=5, description="For a new connection.")
    first_byte_timeout_s: PositiveFloat = Field(default=300, description="Until the answer begins.")
    idle_timeout_s: PositiveFloat = Field(default=120, description="Longest silence within an answer.")
    stream_options: bool = Field(
        default=True,
        description="False for a server that refuses `stream_options`: what its streams use is estimated.",
    )


def create_openai(name: str, settings: OpenAISettings, build: Build) -> OpenAIExpert:
    """The plugin's factory."""
    tls = None
    if settings.ca_file is not None:
        path = build.base_dir / settings.ca_file.expanduser()
        try:
            tls = ssl.create_default_context(cafile=path)
        except OSError as error:  # of which SSLError is one
            why = error.strerror or "it holds no certificate"
            raise ConfigError(f"experts.{name}.ca_file: {path} cannot be used: {why}.") from error
    return OpenAIExpert(build.card(Card(name=name, capabilities=_CAPABILITIES)), settings, tls)


_CAPABILITIES: frozenset[Capability] = frozenset({"chat", "stream", "tools", "json_schema"})


class _Completion(msgspec.Struct):
    """Just enough of a chat.completion to know that it is one."""

    choices: list[msgspec.Raw]
    usage: Usage | None = None


class _List(msgspec.Struct):
    """Just enough of a list of embeddings to know that it is one."""

    data: list[msgspec.Raw]
    usage: Usage | None = None


class _Score(msgspec.Struct):
    index: int
    score: float


class _Scores(msgspec.Struct):
    data: list[_Score]


class _ErrorBody(msgspec.Struct):
    error: dict[str, Any] | str | None = None
    message: str | None = None
    detail: Any = None


_completion = msgspec.json.Decoder(_Completion)
_list = msgspec.json.Decoder(_List)
_scores = msgspec.json.Decoder(_Scores)
_error_body = msgspec.json.Decoder(_ErrorBody)


class OpenAIExpert:
    """One model of an OpenAI-compatible server."""

    def __init__(self, card: Card, settings: OpenAISettings, tls: ssl.SSLContext | None = None) -> None:
        self._card = card
        self._tls = tls
        self._settings = settings
        self._model = settings.model
        self._left_out = () if settings.stream_options else ("stream_options",)
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        headers = {"Accept-Encoding": "identity", **settings.headers}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # Headers of one's own carry keys too. A short value is none, and taking it out would spoil the words.
        values = (value for value in settings.headers.values() if len(value) >= _SECRET_LENGTH)
        self._secrets = tuple(filter(None, (key, *values)))
        self._headers = headers
        self._status: StatusClient | None = None
        self._client = HttpClient(
            settings.base_url, headers=headers, connect_timeout_s=settings.connect_timeout_s, tls=tls
        )

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    punctual = True

    # The next two hand the coroutine on: one that only waits for another would cost every request.

    def complete(self, request: ChatRequest, context: Context) -> CoroutineType[Any, Any, Reply]:
        """POST the payload with the server's own model name. Raises `ExpertError`s."""
        body = request.encoded({"model": self._model}, self._left_out)
        return self._answered("/chat/completions", body, bool(request.body.stream), context)

    def complete_prompt(self, request: PromptRequest, context: Context) -> CoroutineType[Any, Any, Reply]:
        """The same for a bare prompt. For servers that have such an endpoint: those whose card says so."""
        payload = {**request.payload, "model": self._model}
        for name in self._left_out:
            payload.pop(name, None)
        body = msgspec.json.encode(payload)
        return self._answered("/completions", body, bool(request.body.stream), context)

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """POST the texts. Raises `ExpertError`s."""
        body = await self._posted("/embeddings", request.payload, context)
        try:
            return Reply(body=body, usage=_list.decode(body).usage)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._nonsense(f"a body that is no list of embeddings ({error})") from error

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """POST questions and answers to `/score`, as vLLM has it. Raises `ExpertError`s.

        `ExpertRejected` for a chat that is more than one question and its answer.
        """
        for chat in chats:
            if [message.get("role") for message in chat] != ["user", "assistant"]:
                raise ExpertRejected(
                    f"`{self._card.name}` scores one question and its answer, not longer chats.",
                    status=400,
                    expert=self._card.name,
                    param="chats",
                )
        texts = {f"text_{side + 1}": [chat[side]["content"] for chat in chats] for side in (0, 1)}
        return await self.scored(texts, len(chats), context)

    async def scored(self, payload: dict[str, Any], count: int, context: Context) -> NDArray[np.float32]:
        """POST this to `/score`: float32[count]. Raises `ExpertError`s."""
        import numpy as np  # Late: who only chats need not have it in memory.

        if not count:
            return np.zeros(0, np.float32)
        body = await self._posted("/score", payload, context)
        try:
            found = {each.index: each.score for each in _scores.decode(body).data}
            return np.array([found[index] for index in range(count)], dtype=np.float32)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
            raise self._nonsense("a body without a score for each text") from error

    async def _answered(self, path: str, body: bytes, streamed: bool, context: Context) -> Reply:
        trace = f"traceparent: {context.traceparent}\r\n" if context.traceparent else ""
        try:
            response = await self._client.post(path, body, timeout_s=self._patience_s(context), headers=trace)
            if response.status != 200:
                raise await self._refusal(response, context)
            if not streamed:
                body = response.whole(MAX_REPLY_BYTES) or await self._read(response, MAX_REPLY_BYTES, context)
                return self._whole(body)
            return await self._stream(response)
        except (Broken, OSError) as error:
            raise self._failure(error) from error

    async def probe(self, path: str, timeout_s: float) -> None:
        """GET the path. Well is who answers anything below 500: a 404 or 401 is an answer too."""
        if self._status is None:
            self._status = StatusClient(self._settings.base_url, self._headers, self._tls)
        try:
            async with asyncio.timeout(timeout_s):
                status = await self._status.status(path)
        except (Broken, OSError) as error:
            raise self._failure(error) from error
        if status >= 500:
            name = self._card.name
            raise ExpertUnavailable(f"`{name}` answered {status} to a look at {path}.", expert=name)

    async def _posted(self, path: str, payload: dict[str, Any], context: Context) -> bytes:
        """The body of a 200."""
        body = msgspec.json.encode({**payload, "model": self._model})
        trace = f"traceparent: {context.traceparent}\r\n" if context.traceparent else ""
        try:
            response = await self._client.post(path, body, timeout_s=self._patience_s(context), headers=trace)
            if response.status != 200:
                raise await self._refusal(response, context)
            return await self._read(response, MAX_REPLY_BYTES, context)
        except (Broken, OSError) as error:
            raise self._failure(error) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _read(self, response: Response, limit_bytes: int, context: Context) -> Awaitable[bytes]:
        return response.read(limit_bytes, context.remaining_s(), self._settings.idle_timeout_s)

    def _patience_s(self, context: Context) -> float:
        remaining_s = context.remaining_s()
        if remaining_s <= 0:
            raise ExpertTimeout(
                "The deadline had passed before the expert was asked.", expert=self._card.name
            )
        return min(self._settings.first_byte_timeout_s, remaining_s)

    def _whole(self, body: bytes) -> Reply:
        try:
            completion = _completion.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._nonsense(f"a body that is no chat completion ({error})") from error
        return Reply(body=body, usage=completion.usage, checked=True)

    async def _stream(self, response: Response) -> Reply:
        try:
            first = await self._first_event(response)
        except BaseException:
            response.close()
            raise
        reply = Reply()
        reply.chunks = self._forward(first, response, reply)
        return reply

    async def _first_event(self, response: Response) -> bytes:
        """What has come by the end of the first event, which is none of an error."""
        content_type = response.headers.get(b"content-type", b"")
        if not content_type.startswith(b"text/event-stream"):
            raise self._nonsense(
                f"`{content_type.decode('latin-1')[:80]}` where an event stream was expected"
            )
        first = b""
        while (end := first_end(first)) < 0:
            if len(first) > MAX_EVENT_BYTES:
                raise self._nonsense("a stream without an event in its first megabyte")
            piece = await response.piece(self._settings.idle_timeout_s)
            if not piece:
                raise self._nonsense("a stream that ended before its first event")
            first += piece
        event = first[:end]
        if _ERROR_EVENT in event:
            raise self._failed(event)
        if not _may_begin(event):
            raise self._nonsense("a stream whose first event is no chat completion chunk")
        return first

    async def _forward(self, first: bytes, response: Response, reply: Reply) -> AsyncGenerator[bytes, None]:
        """Pass the stream on, up to an error event; its end is read for `[DONE]` and the usage."""
        idle_timeout_s = self._settings.idle_timeout_s
        before, last = b"", first
        try:
            while _ERROR_EVENT not in last:
                told = len(last) if last.endswith(b"\n") else _told(last)
                if told:
                    yield last[:told]
                piece = await response.piece(idle_timeout_s)
                if not piece:
                    if told < len(last):
                        yield last[told:]
                    break
                before, last = last[:told], last[told:] + piece
            else:
                # Servers differ in what follows, even `[DONE]`; what failed must not look complete.
                at = max(last.rfind(b"data:", 0, last.find(_ERROR_EVENT)), 0)
                if at:
                    yield last[:at]
                event = last[at:]
                while first_end(event) < 0 and len(event) < MAX_ERROR_BYTES:
                    if not (piece := await response.piece(idle_timeout_s)):
                        break
                    event += piece
                raise self._failed(event)
        except Broken as error:
            raise self._failure(error) from error
        finally:
            response.close()
        tail = last if len(last) >= _USAGE_TAIL_BYTES else before + last
        reply.usage = _stream_usage(tail)
        if b"[DONE]" not in tail[-_DONE_TAIL_BYTES:]:
            raise ExpertUnavailable(f"`{self._card.name}` ended its stream early.", expert=self._card.name)

    async def _refusal(self, response: Response, context: Context) -> ExpertError:
        """The error for a status that is not 200."""
        status, name = response.status, self._card.name
        retry_after_s = _retry_after_s(response.headers.get(b"retry-after"))
        if status in (401, 403, 404) or status >= 500 or status < 400:
            # Not the caller's fault: our key, our model name, or the server. Its words may hold the key.
            response.close()
            message = f"`{name}` answered {status}."
            return ExpertUnavailable(message, expert=name, retry_after_s=retry_after_s)
        message, param = _error_message(await self._read(response, MAX_ERROR_BYTES, context))
        message = self._clean(message)
        param = self._clean(param) if param and len(param) <= _MAX_PARAM_CHARACTERS else None
        if status == 429:
            return ExpertOverloaded(
                f"`{name}` is overloaded: {message}", expert=name, retry_after_s=retry_after_s
            )
        if status == 408:
            return ExpertTimeout(f"`{name}` timed out: {message}", expert=name)
        return ExpertRejected(
            f"`{name}` refused the request: {message}", status=status, expert=name, param=param
        )

    def _failure(self, error: Broken | OSError) -> ExpertError:
        name = self._card.name
        if isinstance(error, Silent | TimeoutError):
            return ExpertTimeout(f"`{name}` did not answer in time.", expert=name)
        return ExpertUnavailable(f"`{name}` cannot be reached: {error}.", expert=name)

    def _failed(self, event: bytes) -> ExpertUnavailable:
        """The error for an error event of a stream."""
        data = event.partition(b"data:")[2].partition(b"\n")[0].strip()
        message, name = self._clean(_error_message(data)[0]), self._card.name
        return ExpertUnavailable(f"`{name}` failed: {message}", expert=name)

    def _nonsense(self, what: str) -> ExpertProtocolError:
        return ExpertProtocolError(f"`{self._card.name}` answered {what}.", expert=self._card.name)

    def _clean(self, message: str) -> str:
        """An upstream's words, short and without our secrets."""
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message[:500]


def _may_begin(event: bytes) -> bool:
    """Whether a stream may begin with this: a chunk, a comment, `[DONE]`."""
    data = event.partition(b"data:")[2].strip()
    if not data or data == b"[DONE]":
        return True
    try:
        _completion.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _told(piece: bytes) -> int:
    """Up to where a piece that ends within an event may be passed on: the event may yet turn out an error."""
    begun = piece.rfind(b"\n") + 1
    return begun if len(piece) - begun < _TELLING_BYTES else len(piece)


def _stream_usage(tail: bytes) -> Usage | None:
    """Usage from the last events of a stream, where the server sent it."""
    tail = tail[-_USAGE_TAIL_BYTES:]
    at = tail.rfind(b'"usage"')
    start = tail.rfind(b"data:", 0, at) if at >= 0 else -1
    if start < 0:
        return None
    line = tail[start + 5 :].split(b"\n", 1)[0].strip()
    try:
        return msgspec.json.decode(line, type=_Completion).usage
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _error_message(body: bytes) -> tuple[str, str | None]:
    """Message and param of an error body, as far as they can be made out."""
    try:
        parsed = _error_body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "no readable reason", None
    if isinstance(parsed.error, dict):
        param = parsed.error.get("param")
        return str(parsed.error.get("message", "no reason")), param if isinstance(param, str) else None
    return str(parsed.error or parsed.message or parsed.detail or "no reason"), None


def _retry_after_s(value: bytes | None) -> float | None:
    """Seconds of a Retry-After header; its date form is not used by LLM servers and is ignored."""
    if value is None or not value.strip().isdigit():
        return None
    return float(value)
