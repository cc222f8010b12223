"""A base that learns from demonstrations, and two tasks to teach it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

from coe.contracts import Card, Context, Embedder, Reply
from coe.errors import ExpertUnavailable
from coe.wire import ChatRequest
from coe_mop._build import BuildSettings, Made, build
from coe_mop._caller import Caller
from coe_mop._examples import Example
from coe_mop._ledger import Ledger

WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "bread",
    "chair",
    "light",
    "music",
    "paper",
    "glass",
    "horse",
    "tiger",
    "lemon",
    "sugar",
    "plant",
    "house",
    "water",
    "table",
    "grass",
    "money",
    "night",
    "storm",
    "beach",
    "field",
    "metal",
    "brush",
    "knife",
    "spoon",
    "shirt",
    "watch",
]


class PowerCut(Exception):
    """Nothing that anybody expects."""


class Pupil:
    """Answers a question as the demonstrations of its kind do, or as the instruction says; else "no idea".

    Counts its calls, remembers how many ran at once, and fails when told.
    """

    def __init__(self, fail_after: int | None = None) -> None:
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.asked: list[list[dict[str, Any]]] = []
        self._fail_after = fail_after

    @property
    def card(self) -> Card:
        return Card(name="pupil", context_window=4096)

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        self.calls += 1
        if self._fail_after is not None and self.calls > self._fail_after:
            raise PowerCut
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            messages = request.payload["messages"]
            self.asked.append(messages)
            text = self._answer(messages)
        finally:
            self.at_once -= 1
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "pupil", "choices": [choice]}
        return Reply(body=json.dumps(body).encode())

    async def aclose(self) -> None:
        pass

    @staticmethod
    def _answer(messages: list[dict[str, Any]]) -> str:
        question = messages[-1]["content"]
        if question.startswith("Somebody"):
            return "Instruction: add numbers" if "+" in question else "Write capitals."
        if question.startswith("Below"):
            return "You are a calculator." if "+" in question else "You are a sign painter."
        shown = [each["content"] for each in messages[:-1] if each["role"] == "user"]
        system = " ".join(each["content"] for each in messages if each["role"] == "system")
        if "+" in question:
            knows = any("+" in each for each in shown) or "add" in system
            return str(sum(map(int, question.split("+")))) if knows else "no idea"
        knows = any("+" not in each for each in shown) or "capitals" in system
        return question.upper() if knows else "no idea"


class Failing(Pupil):
    """Fails every other call, for a moment."""

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        if (self.calls + 1) % 2 == 0:
            self.calls += 1
            raise ExpertUnavailable("busy", expert="pupil")
        return await super().complete(request, context)


def examples(count: int = 60, seed: int = 0) -> list[Example]:
    """Half sums, half words to write in capitals."""
    rng = random.Random(seed)
    made: dict[Example, None] = {}
    while len(made) < count:
        if len(made) % 2:
            a, b = rng.randint(1, 99), rng.randint(1, 99)
            made[Example(f"{a} + {b}", (str(a + b),), "sum")] = None
        else:
            words = " ".join(rng.sample(WORDS, 2))
            made[Example(words, (words.upper(),), "capitals")] = None
    return list(made)


async def no_wait(_: float) -> None:
    """Instead of waiting between attempts."""


def made_with(
    base: Pupil, settings: BuildSettings, embedder: Embedder, calls: Path | None = None
) -> tuple[Made, Ledger]:
    """Build with this base."""

    async def run() -> tuple[Made, Ledger]:
        with Ledger(calls, "pupil", settings.budget) as ledger:
            caller = Caller(base, ledger, concurrency=settings.concurrency, sleep=no_wait)
            return await build(examples(), embedder, settings, caller=caller, base="pupil"), ledger

    return asyncio.run(run())
