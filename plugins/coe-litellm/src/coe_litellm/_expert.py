"""One model of one LiteLLM provider as an expert."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, cast

from coe.contracts import Card, Context, Reply
from coe.errors import ExpertError, ExpertProtocolError, ExpertRejected, ExpertTimeout, ExpertUnavailable
from coe.wire import ChatRequest
from coe_litellm import _encode, _library
from coe_litellm._cost import Tariff
from coe_litellm._errors import expert_error
from coe_litellm._peeked import Peeked
from coe_litellm._request import arguments_of, unsupported_field
from coe_litellm._settings import LiteLLMSettings

_SHORTEST_SECRET = 8
"""Shorter header values are words, and would be cut out of error messages for nothing."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What is known once litellm is imported: the provider, and the fields that it takes where known."""

    sdk: _library.Sdk
    provider: str
    supported: frozenset[str] | None


class LiteLLMExpert:
    """A model of any provider that LiteLLM speaks to.

    It is asleep until litellm is imported, in a thread, by `start` or by the first request.
    """

    def __init__(self, card: Card, settings: LiteLLMSettings, tariff: Tariff) -> None:
        self._card = card
        self._settings = settings
        self._tariff = tariff
        self._target: _Target | None = None
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._secrets = frozenset(
            secret for secret in (key, *settings.headers.values()) if len(secret) >= _SHORTEST_SECRET
        )
        self._fixed: dict[str, Any] = {
            "model": settings.model,
            "api_key": key or None,
            "api_base": settings.api_base,
            "api_version": settings.api_version,
            "drop_params": settings.drop_unsupported,
            # One attempt: coe decides who is asked next.
            "num_retries": 0,
            "max_retries": 0,
            # A backstop; the limits below are the ones that count.
            "timeout": max(settings.first_byte_timeout_s, settings.idle_timeout_s),
            "no-log": True,
            # Tools are the client's: litellm must not call MCP servers that a request names.
            "_skip_mcp_handler": True,
        }

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether litellm is imported and knows the provider."""
        return self._target is not None

    async def start(self) -> None:
        """Import litellm and look the provider up. Raises `ExpertUnavailable`."""
        await self._ready()

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Ask the provider. Raises `ExpertError`s; for a stream, whatever happens before its first chunk."""
        limit_s = min(self._settings.first_byte_timeout_s, context.remaining_s())
        if limit_s <= 0:
            raise ExpertTimeout(
                "The deadline had passed before the expert was asked.", expert=self._card.name
            )
        try:
            async with asyncio.timeout(limit_s):
                target = await self._ready()
                arguments = self._arguments(request, context, target)
                if request.body.stream:
                    return await self._stream(target, arguments, request, context)
                return self._whole(target, await target.sdk.acompletion(**arguments))
        except ExpertError:
            raise
        # litellm's adapters raise what they like; each is this expert's failure and nobody else's.
        except Exception as error:
            raise expert_error(error, self._card.name, self._secrets) from error

    async def aclose(self) -> None:
        """Close litellm's connections, if this was the last expert that used them."""
        if self._target is not None:
            self._target = None
            await _library.clients.release()

    async def _ready(self) -> _Target:
        if self._target is not None:
            return self._target
        target = await asyncio.to_thread(self._resolve)
        if self._target is None:
            self._target = target
            _library.clients.hold()
        return target

    def _resolve(self) -> _Target:
        """Import litellm and look the provider up; seconds of CPU the first time."""
        settings, name = self._settings, self._card.name
        try:
            sdk = _library.load()
        except ImportError as error:
            raise ExpertUnavailable(f"`{name}`: litellm cannot be imported: {error}.", expert=name) from error
        try:
            model, provider, _, _ = sdk.get_llm_provider(settings.model, api_base=settings.api_base)
            supported = sdk.get_supported_openai_params(model, provider)
        except Exception as error:
            asked = settings.model.partition("/")[0]
            known = [str(getattr(each, "value", each)) for each in sdk.provider_list]
            close = difflib.get_close_matches(asked, known, n=1)
            raise ExpertUnavailable(
                f"`{name}`: litellm knows no provider for `{settings.model}`.",
                expert=name,
                hint=f"Did you mean `{close[0]}`?" if close and close[0] != asked else None,
            ) from error
        return _Target(sdk, provider, frozenset(supported) if supported else None)

    def _arguments(self, request: ChatRequest, context: Context, target: _Target) -> dict[str, Any]:
        name = self._card.name
        if target.supported is not None and (field := unsupported_field(request, target.supported)):
            raise ExpertRejected(
                f"`{name}` cannot serve `{field}`: {target.provider} does not know it.",
                status=400,
                expert=name,
                param=field,
            )
        params = self._settings.params
        arguments = {**params, **arguments_of(request, target.provider), **self._fixed}
        if body := {**params.get("extra_body", {}), **arguments.get("extra_body", {})}:
            arguments["extra_body"] = body
        trace = {"traceparent": context.traceparent} if context.traceparent else {}
        if headers := {**self._settings.headers, **trace}:
            arguments["extra_headers"] = headers
        if request.body.stream:
            # Usage is asked for whatever the client wants: the journal needs it.
            arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        return arguments

    def _whole(self, target: _Target, answer: Any) -> Reply:
        body, usage = _encode.body_of(answer)
        reply = Reply(body=body, usage=usage)
        if usage is not None:
            tier = getattr(answer, "service_tier", None)
            reply.cost_usd = self._tariff.cost_usd(target.sdk, usage, answer.usage, tier)
        return reply

    async def _stream(
        self, target: _Target, arguments: dict[str, Any], request: ChatRequest, context: Context
    ) -> Reply:
        stream = cast("_library.Stream", await target.sdk.acompletion(**arguments))
        options = request.body.stream_options
        wants_usage = options is not None and bool(options.include_usage)
        reply = Reply()
        events = self._events(target, stream, context, reply, wants_usage)
        reply.chunks = await Peeked.of(events)
        return reply

    async def _events(
        self, target: _Target, stream: _library.Stream, context: Context, reply: Reply, wants_usage: bool
    ) -> AsyncGenerator[bytes, None]:
        """The stream as server-sent events, usage last; fills in the reply's usage and cost."""
        name, ended, last = self._card.name, False, cast("dict[str, Any]", {})
        try:
            while (answer := await self._next(stream, context)) is not None:
                chunk = _encode.chunk_of(answer)
                if _encode.finished(chunk):
                    # litellm makes up a `stop` when a stream breaks off; only the provider's own counts.
                    ended = bool(stream.received_finish_reason or stream.intermittent_finish_reason)
                    if not ended:
                        break
                if (usage := _encode.usage_of(chunk)) is not None:
                    reply.usage = usage
                    tier = getattr(answer, "service_tier", None)
                    reply.cost_usd = self._tariff.cost_usd(target.sdk, usage, cast("Any", answer).usage, tier)
                    last = _encode.usage_chunk(chunk, chunk.pop("usage"))
                if _encode.says_something(chunk):
                    yield _encode.event(chunk)
        except ExpertError:
            raise
        # See `complete`.
        except Exception as error:
            raise expert_error(error, name, self._secrets) from error
        finally:
            await stream.aclose()
        if not ended:
            raise ExpertProtocolError(f"`{name}` ended its stream early.", expert=name)
        if wants_usage and last:
            yield _encode.event(last)
        yield _encode.DONE

    async def _next(self, stream: _library.Stream, context: Context) -> _library.Answer | None:
        """The next chunk, or None at the end. Raises TimeoutError after silence or at the deadline."""
        limit_s = min(self._settings.idle_timeout_s, max(context.remaining_s(), 0))
        try:
            async with asyncio.timeout(limit_s):
                return await stream.__anext__()
        except StopAsyncIteration:
            return None
