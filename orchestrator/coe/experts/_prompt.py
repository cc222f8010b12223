"""An expert made of an instruction and demonstrations on a base expert."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from coe.contracts import Build, Card, Context, Expert, ExpertName, Reply, Startable
from coe.wire import ChatRequest, Message

_BYTES_PER_TOKEN = 4  # of English text, roughly
_TOKENS_PER_MESSAGE = 4  # role and separators


class Demonstration(BaseModel):
    """One example of a good answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: str = Field(description="What a user might say.")
    output: str = Field(description="What a good answer to it is.")


class PromptSettings(BaseModel):
    """What to put before the conversation, and whom to ask."""

    base: ExpertName = Field(description="Name of the expert that answers.")
    instruction: str = Field(default="", description="System message; a caller's own comes after it.")
    demonstrations: tuple[Demonstration, ...] = Field(
        default=(), description="Examples, put before the conversation as user and assistant turns."
    )
    temperature: NonNegativeFloat | None = Field(
        default=None, description="Used when the request states none."
    )
    max_tokens: PositiveInt | None = Field(
        default=None, description="Longest answer in tokens; used when the request states none."
    )


def create_prompt(name: str, settings: PromptSettings, build: Build) -> PromptExpert:
    """The plugin's factory. Raises `ConfigError` for an unknown base or a cycle of bases."""
    base = build.expert(settings.base)
    return PromptExpert(build.card(_card(name, settings, base.card)), settings, base)


def _card(name: str, settings: PromptSettings, base: Card) -> Card:
    """The base's facts; its context window less what the prompt itself takes up."""
    texts = [settings.instruction] if settings.instruction else []
    texts += [text for shown in settings.demonstrations for text in (shown.input, shown.output)]
    own_tokens = sum(math.ceil(len(text.encode()) / _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE for text in texts)
    window = base.context_window
    return dataclasses.replace(
        base,
        name=name,
        kind="prompt",
        # A prompt is a chat: what else the base can do is not the prompt's.
        capabilities=base.capabilities - {"complete", "embed", "score"},
        context_window=None if window is None else max(1, window - own_tokens),
        description=f"A prompt on `{settings.base}`.",
    )


class PromptExpert:
    """Puts its instruction and demonstrations before the conversation and asks the base.

    The instruction and the caller's leading system (or developer) messages become one system message, the
    caller's words last, because many chat templates accept only one. The rest of the request (tools, images,
    response_format, later messages) passes unchanged. The base belongs to the pool and is not closed here.
    """

    def __init__(self, card: Card, settings: PromptSettings, base: Expert) -> None:
        self._card = card
        self._base = base
        self._instruction = settings.instruction
        self._turns: list[dict[str, Any]] = [
            turn
            for shown in settings.demonstrations
            for turn in (
                {"role": "user", "content": shown.input},
                {"role": "assistant", "content": shown.output},
            )
        ]
        self._temperature = settings.temperature
        self._max_tokens = settings.max_tokens

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether the base can answer at once."""
        return self._base.awake if isinstance(self._base, Startable) else True

    async def start(self) -> None:
        """Wake the base. Raises `ExpertUnavailable` with the reason."""
        if isinstance(self._base, Startable):
            await self._base.start()

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer through the base; raises what the base raises."""
        return await self._base.complete(self._prompted(request), context)

    async def aclose(self) -> None:
        """Nothing of its own to free."""

    def _prompted(self, request: ChatRequest) -> ChatRequest:
        """The request with the prompt in it. The given one is left as it was."""
        messages: list[dict[str, Any]] = request.payload["messages"]
        leading = list(takewhile(_is_system, messages))
        contents = [self._instruction, *(message.get("content") for message in leading)]
        joined = _join([content for content in contents if content])
        system = [{"role": "system", "content": joined}] if joined else []
        prompted = [*system, *self._turns, *messages[len(leading) :]]
        changed: dict[str, Any] = {}
        body = request.body
        if self._temperature is not None and body.temperature is None:
            changed["temperature"] = self._temperature
        if self._max_tokens is not None and body.max_tokens is None and body.max_completion_tokens is None:
            changed["max_tokens"] = self._max_tokens
        return ChatRequest(
            body=msgspec.structs.replace(body, messages=msgspec.convert(prompted, list[Message]), **changed),
            payload={**request.payload, **changed, "messages": prompted},
        )


def _is_system(message: dict[str, Any]) -> bool:
    return message["role"] in ("system", "developer")


def _join(contents: Sequence[str | list[Any]]) -> str | list[Any]:
    """Join contents of messages; parts stay parts, because they may carry more than text."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(content for content in contents if isinstance(content, str))
    parts: list[Any] = []
    for content in contents:
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts
