"""A reward expert: an answer is as good as the part of the question's words that it repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeFloat

from coe.contracts import Build, Card, Context, Reply
from coe.errors import ExpertUnavailable
from coe.wire import EmbeddingRequest, Usage


class CriticSettings(BaseModel):
    """How it behaves."""

    delay_s: NonNegativeFloat = Field(default=0, description="Wait before scoring.")
    fail_on: str | None = Field(default=None, description="Fail when an answer holds this word.")


def create_critic(name: str, settings: CriticSettings, build: Build) -> Critic:
    """The plugin's factory."""
    card = Card(name=name, kind="reward", capabilities=frozenset({"score", "embed"}), locality="local")
    return Critic(build.card(card), settings)


class Critic:
    """Scores by words in common; a text's vector is how often it has each vowel."""

    def __init__(self, card: Card, settings: CriticSettings) -> None:
        self._card = card
        self._settings = settings

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """The part of the words before the answer that the answer has."""
        await asyncio.sleep(self._settings.delay_s)
        return np.array([self._scored(chat) for chat in chats], dtype=np.float32)

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """Vowels, counted."""
        given = request.body.input
        texts = [given] if isinstance(given, str) else given
        data = [
            {"object": "embedding", "index": at, "embedding": [float(str(text).count(v)) for v in "aeiou"]}
            for at, text in enumerate(texts)
        ]
        usage = Usage(prompt_tokens=len(texts), total_tokens=len(texts))
        body = {"object": "list", "data": data, "model": self._card.name, "usage": usage}
        return Reply(body=msgspec.json.encode(body), usage=usage)

    async def aclose(self) -> None:
        """Nothing to free."""

    def _scored(self, chat: Sequence[Mapping[str, Any]]) -> float:
        answer = str(chat[-1].get("content"))
        if self._settings.fail_on is not None and self._settings.fail_on in answer:
            raise ExpertUnavailable(f"`{self._card.name}` will not read this.", expert=self._card.name)
        asked = {word for message in chat[:-1] for word in str(message.get("content")).lower().split()}
        return len(asked & set(answer.lower().split())) / max(len(asked), 1)
