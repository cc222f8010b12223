"""A reward model behind vLLM's pooling runner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card, Context
from coe.errors import ExpertProtocolError, ExpertRejected, ExpertUnavailable
from coe_vllm._api import Refused
from coe_vllm._backend import Backend
from coe_vllm._pooling import Pooling
from coe_vllm._settings import RewardSettings

_AT_ONCE = 8
"""Requests under way for one call: the server batches them, and its queue stays short for others."""


class _Row(msgspec.Struct):
    probs: list[float] = []
    score: float = 0.0
    data: Any = None


class _Answer(msgspec.Struct):
    data: list[_Row]


class VllmReward(Pooling):
    """Scores chats by /classify, /score or /pooling, without the sigmoid that vLLM applies by default.

    Args:
        card: its facts.
        settings: its keys.
        backend: the server, run with `runner: pooling`.
        served_name: the model's name on the server.
    """

    def __init__(self, card: Card, settings: RewardSettings, backend: Backend, served_name: str) -> None:
        super().__init__(card, backend, served_name)
        self._settings = settings

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """Reward of each chat, float32[n]: the raw output of the model's head. Raises `ExpertError`s.

        Raises:
            ExpertRejected: with `ask: score`, a chat that is more than one question and its answer.
        """
        if not chats:
            return np.zeros(0, np.float32)
        bodies = [self._body(chat) for chat in chats]
        gate = asyncio.Semaphore(_AT_ONCE)
        async with self._running(context):
            scores = await asyncio.gather(*(self._one(body, context, gate) for body in bodies))
        return np.asarray(scores, np.float32)

    def _body(self, chat: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        common = {"model": self._served_name, "use_activation": False}
        if self._settings.ask != "score":
            return {**common, "messages": list(chat), "add_generation_prompt": False}
        if [message.get("role") for message in chat] != ["user", "assistant"]:
            raise ExpertRejected(
                f"`{self._card.name}` scores one question and its answer, not longer chats.",
                status=400,
                expert=self._card.name,
                param="chats",
            )
        return {**common, "text_1": chat[0]["content"], "text_2": chat[1]["content"]}

    async def _one(self, body: dict[str, Any], context: Context, gate: asyncio.Semaphore) -> float:
        name, ask = self._card.name, self._settings.ask
        async with gate:
            try:
                raw = await self._backend.api.pool(f"/{ask}", body, max(0.001, context.remaining_s()))
            except Refused as error:
                raise ExpertUnavailable(f"`{name}`: {error}.", expert=name) from error
        try:
            return self._value(msgspec.json.decode(raw, type=_Answer).data[0])
        except (msgspec.DecodeError, ValueError, IndexError, TypeError) as error:
            raise ExpertProtocolError(
                f"`{name}` answered /{ask} with something else than one number: a reward model has one "
                "label, or `label` says which of several.",
                expert=name,
            ) from error

    def _value(self, row: _Row) -> float:
        if self._settings.ask == "score":
            return row.score
        values: Any = row.probs
        if self._settings.ask == "pooling":
            values = row.data
            if isinstance(values[0], list):  # of each token: the last one has seen the whole answer
                values = values[-1]
        if self._settings.label is not None:
            return float(values[self._settings.label])
        (value,) = values
        return float(value)
