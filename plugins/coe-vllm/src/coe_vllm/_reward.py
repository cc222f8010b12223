"""A reward model behind vLLM's pooling runner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card, Context
from coe.errors import ExpertProtocolError, ExpertTimeout, ExpertUnavailable
from coe_vllm._api import Refused
from coe_vllm._backend import Backend
from coe_vllm._settings import VllmSettings

_AT_ONCE = 8
"""Requests under way for one call: the server batches them, and its queue stays short for others."""


class _Row(msgspec.Struct):
    probs: list[float]


class _Answer(msgspec.Struct):
    data: list[_Row]


class VllmReward:
    """Scores chats by /classify of a model with one label, without the sigmoid that vLLM applies by default.

    Args:
        card: its facts.
        settings: its keys.
        backend: the server, run with `runner: pooling`.
        served_name: the model's name on the server.
    """

    def __init__(self, card: Card, settings: VllmSettings, backend: Backend, served_name: str) -> None:
        self._card = card
        self._settings = settings
        self._backend = backend
        self._served_name = served_name

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether the server answers at once."""
        return self._backend.status.state == "ready"

    async def start(self) -> None:
        """Have the server answer. Raises `ExpertUnavailable` with the reason."""
        await self._backend.start()

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """Reward of each chat, float32[n]: the raw output of the model's head. Raises `ExpertError`s."""
        if not chats:
            return np.zeros(0, np.float32)
        gate = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.timeout(max(0.0, context.remaining_s())):
                if not self.awake:
                    await self.start()
                scores = await asyncio.gather(*(self._one(chat, context, gate) for chat in chats))
        except TimeoutError:
            raise ExpertTimeout(
                f"`{self._card.name}` did not answer in time.", expert=self._card.name
            ) from None
        return np.asarray(scores, np.float32)

    async def aclose(self) -> None:
        """Close the connections, and end the server if it is ours."""
        await self._backend.aclose()

    async def _one(
        self, chat: Sequence[Mapping[str, Any]], context: Context, gate: asyncio.Semaphore
    ) -> float:
        name = self._card.name
        body = {"model": self._served_name, "messages": list(chat), "use_activation": False}
        body["add_generation_prompt"] = False
        async with gate:
            try:
                raw = await self._backend.api.classify(body, max(0.001, context.remaining_s()))
            except Refused as error:
                raise ExpertUnavailable(f"`{name}`: {error}.", expert=name) from error
        try:
            answer = msgspec.json.decode(raw, type=_Answer)
            (value,) = answer.data[0].probs
        except (msgspec.DecodeError, ValueError, IndexError) as error:
            raise ExpertProtocolError(
                f"`{name}` answered /classify with something else than one number; a reward model has one "
                "label.",
                expert=name,
            ) from error
        return value
