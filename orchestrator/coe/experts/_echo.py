"""An expert that answers with the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from pydantic import BaseModel, Field, NonNegativeFloat

from coe.contracts import Build, Capability, Card, Context, Reply
from coe.wire import ChatRequest, Usage, last_user_text

_CAPABILITIES: frozenset[Capability] = frozenset({"chat", "stream", "tools", "vision", "json_schema"})


class EchoSettings(BaseModel):
    """What to put before the prompt, and how slowly to answer."""

    prefix: str = Field(default="", description="Put before the prompt.")
    delay_s: NonNegativeFloat = Field(default=0, description="Wait before answering.")


def create_echo(name: str, settings: EchoSettings, build: Build) -> EchoExpert:
    """The plugin's factory."""
    return EchoExpert(build.card(Card(name=name, capabilities=_CAPABILITIES, locality="local")), settings)


class EchoExpert:
    """Answers with the last user turn, word by word when streamed. Tokens are words."""

    def __init__(self, card: Card, settings: EchoSettings) -> None:
        self._card = card
        self._settings = settings

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Echo."""
        if self._settings.delay_s:
            await asyncio.sleep(self._settings.delay_s)
        text = self._settings.prefix + last_user_text(request.body)
        words = len(text.split())
        usage = Usage(prompt_tokens=words, completion_tokens=words, total_tokens=2 * words)
        if request.body.stream:
            return Reply(chunks=self._words(text, context.request_id), usage=usage)
        message = {"role": "assistant", "content": text}
        completion = self._object("chat.completion", context.request_id)
        completion["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        completion["usage"] = usage
        return Reply(body=msgspec.json.encode(completion), usage=usage)

    async def aclose(self) -> None:
        """Nothing to free."""

    async def _words(self, text: str, request_id: str) -> AsyncGenerator[bytes, None]:
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in text.split(" ")]
        for at, delta in enumerate(deltas):
            if at > 1:
                delta["content"] = " " + delta["content"]
            yield self._event(request_id, delta, None)
        yield self._event(request_id, {}, "stop")
        yield b"data: [DONE]\n\n"

    def _event(self, request_id: str, delta: dict[str, str], finish_reason: str | None) -> bytes:
        chunk = self._object("chat.completion.chunk", request_id)
        chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    def _object(self, kind: str, request_id: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{request_id}", "object": kind, "created": 0, "model": self._card.name}
