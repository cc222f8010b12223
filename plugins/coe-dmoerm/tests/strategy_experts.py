"""Experts whose calls can be counted, and a judge that knows what is good."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from coe.contracts import Card, Context, Reply
from coe.errors import ExpertUnavailable
from coe.wire import ChatRequest, Usage


class Talker:
    """Answers with the given texts in turn, each after so many seconds; an answer of None fails."""

    def __init__(
        self,
        name: str,
        *answers: str | None,
        delays: Sequence[float] = (0.0,),
        tokens: tuple[int, int] = (5, 5),
        usd: float = 1.0,
        logprob: float | None = None,
    ) -> None:
        self.card = Card(name=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd)
        self.answers, self.delays, self.tokens, self.logprob = answers, delays, tokens, logprob
        self.asked: list[dict[str, Any]] = []
        self.running = self.most = 0

    def said(self, request: ChatRequest, number: int) -> str | None:
        return self.answers[number % len(self.answers)]

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        number = len(self.asked)
        self.asked.append(request.payload)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.delays[number % len(self.delays)])
        finally:
            self.running -= 1
        text = self.said(request, number)
        if text is None:
            raise ExpertUnavailable(f"{self.card.name} is down.", expert=self.card.name)
        inward, outward = self.tokens
        usage = Usage(prompt_tokens=inward, completion_tokens=outward, total_tokens=inward + outward)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if self.logprob is not None:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": self.logprob}]}
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": self.card.name,
            "choices": [choice],
            "usage": usage,
        }
        return Reply(body=msgspec.json.encode(body), usage=usage)

    async def aclose(self) -> None: ...


class Judge:
    """Rewards of texts, 0 for others, plus a constant; `broken` fails instead."""

    def __init__(self, rewards: Mapping[str, float], constant: float = 0.0, *, broken: bool = False) -> None:
        self.card = Card(name="judge", kind="reward", capabilities=frozenset({"score"}))
        self.rewards, self.constant, self.broken = rewards, constant, broken

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        if self.broken:
            raise ExpertUnavailable("judge is down.", expert="judge")
        found = [self.rewards.get(chat[-1]["content"], 0.0) + self.constant for chat in chats]
        return np.array(found, np.float32)

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        raise AssertionError("it only scores")

    async def aclose(self) -> None: ...
