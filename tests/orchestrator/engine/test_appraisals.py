"""Scores with their reasons: task and aspects reach the caller, through a limit on concurrency too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Appraisal, Card, Context, Expert, Reply
from coe.engine import parse_rerank, parse_score
from coe.pool._gate import Gate
from coe.pool._limited import limited
from coe.testing import context
from coe.wire import ChatRequest


class Plain:
    """Scores by length, without reasons."""

    card = Card(name="judge", kind="reward", capabilities=frozenset({"score"}))

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        return np.array([len(chat[-1]["content"]) for chat in chats], np.float32)

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        raise AssertionError("it only scores")

    async def aclose(self) -> None: ...


class Reasoned(Plain):
    async def appraise(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> Sequence[Appraisal]:
        scores = await self.score(chats, context)
        return [Appraisal(float(each), "prose", {"length": float(each)}) for each in scores]


def answer(work: Any, expert: Expert) -> dict[str, Any]:
    reply = asyncio.run(work.ask(expert, context()))
    return cast("dict[str, Any]", json.loads(reply.body or b""))


SCORE = json.dumps({"model": "judge", "text_1": "q", "text_2": ["aa", "b"]}).encode()
RERANK = json.dumps({"model": "judge", "query": "q", "documents": ["b", "aa"]}).encode()


def test_reasons_reach_the_caller() -> None:
    for expert in (Reasoned(), limited(Reasoned(), Gate(1, 1))):
        rows = answer(parse_score(SCORE), expert)["data"]
        assert rows[0] == {
            "index": 0,
            "object": "score",
            "score": 2.0,
            "task": "prose",
            "aspects": {"length": 2.0},
        }
        (first, _) = answer(parse_rerank(RERANK), expert)["results"]
        assert (first["index"], first["task"], first["aspects"]) == (1, "prose", {"length": 2.0})


def test_without_reasons_the_answer_is_as_ever() -> None:
    for expert in (Plain(), limited(Plain(), Gate(1, 1))):
        rows = answer(parse_score(SCORE), expert)["data"]
        assert rows[0] == {"index": 0, "object": "score", "score": 2.0}
