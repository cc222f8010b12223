"""An expert that answers in capitals."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from coe.contracts import Build, Card, Context, Reply
from coe.errors import ExpertUnavailable
from coe.wire import ChatRequest, last_user_text


class ShoutSettings(BaseModel):
    """How loud, and when to fail."""

    marks: int = Field(default=1, ge=0, le=10, description="Exclamation marks.")
    fail_on: str | None = Field(default=None, description="Fail when the prompt holds this word.")


def create_shout(name: str, settings: ShoutSettings, build: Build) -> Shout:
    """The plugin's factory."""
    return Shout(build.card(Card(name=name, locality="local", description="Answers in capitals.")), settings)


class Shout:
    """Answers with the prompt in capitals."""

    def __init__(self, card: Card, settings: ShoutSettings) -> None:
        self._card = card
        self._settings = settings
        self.load = 0

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Shout."""
        text = last_user_text(request.body)
        if self._settings.fail_on is not None and self._settings.fail_on in text:
            raise ExpertUnavailable(f"`{self._card.name}` is hoarse.", expert=self._card.name)
        if "crowd" in text:  # a load and a card that only the process knows which runs the expert
            self.load, self._card = 2, dataclasses.replace(self._card, context_window=1234)
        answer = text.upper() + "!" * self._settings.marks
        if request.body.stream:
            return Reply(chunks=self._stream(answer, context.request_id))
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Reply(body=self._encode("chat.completion", context.request_id, choice))

    async def aclose(self) -> None:
        """Nothing to free."""

    async def _stream(self, answer: str, request_id: str) -> AsyncGenerator[bytes, None]:
        for word in answer.splitlines(keepends=True):
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            yield b"data: " + self._encode("chat.completion.chunk", request_id, choice) + b"\n\n"
        end: dict[str, str] = {}
        choice = {"index": 0, "delta": end, "finish_reason": "stop"}
        yield b"data: " + self._encode("chat.completion.chunk", request_id, choice) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _encode(self, kind: str, request_id: str, choice: dict[str, Any]) -> bytes:
        return msgspec.json.encode(
            {"id": request_id, "object": kind, "created": 0, "model": self._card.name, "choices": [choice]}
        )
