"""Callers that know the one right answer to each of their requests, and judge what they get.

Every prompt holds words that no other prompt holds, and the upstream echoes the prompt. So an answer that is
mixed up, spliced or repeated shows, whatever went wrong on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

GRACE_S = 2.0
"""What a busy machine may add to the gateway's deadline before a request counts as hung."""
DONE = "[DONE]"
_SEEN_WORDS = 4096


@dataclass(frozen=True, slots=True)
class End:
    """How one request ended.

    Attributes:
        outcome: `right`; `error`: a clean one, in an envelope or an error event; `wrong`: another answer than
            the right one, or an error that is none; `cut`: the connection broke; `hung`: nothing in time;
            `left`: the caller went away on purpose.
        seconds: from sending to the end.
        decision: id of the decision, where an answer began.
        answered: whether the head of a response came.
        code: of the error.
        why: what was wrong, for people.
    """

    model: str
    outcome: str
    seconds: float
    decision: str = ""
    answered: bool = False
    code: str = ""
    why: str = ""


@dataclass
class Callers:
    """Several callers at once.

    Args:
        url: the gateway.
        deadline_s: what the gateway is given for one request.
        seed: of the prompts, and of when callers leave.
    """

    url: str
    deadline_s: float
    seed: int = 0
    ends: list[End] = field(default_factory=list[End])

    async def run(
        self,
        models: Sequence[str],
        count: int,
        *,
        at_once: int = 8,
        leave_share: float = 0.0,
        pause_s: float = 0.0,
    ) -> None:
        """Ask `count` times, models and streaming in turn; `leave_share` of the callers go away early."""
        numbers = iter(range(count))

        async def caller() -> None:
            timeout = self.deadline_s + GRACE_S
            async with httpx.AsyncClient(base_url=self.url, timeout=timeout, verify=False) as client:
                for number in numbers:
                    model = models[number // 2 % len(models)]
                    chance = random.Random(f"{self.seed}/{number}")
                    leave_s = chance.random() * 0.2 if chance.random() < leave_share else None
                    self.ends.append(await self._ask(client, model, bool(number % 2), number, leave_s))
                    if pause_s:
                        await asyncio.sleep(pause_s)

        await asyncio.gather(*(caller() for _ in range(at_once)))

    async def _ask(
        self, client: httpx.AsyncClient, model: str, stream: bool, number: int, leave_s: float | None
    ) -> End:
        words = [f"w{self.seed}x{number}x{at}" for at in range(12)]
        prompt = " ".join(words)
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        heard = _Heard(prompt, stream)
        began = time.perf_counter()
        outcome = why = ""
        patience_s = self.deadline_s + GRACE_S if leave_s is None else leave_s
        try:
            async with (
                asyncio.timeout(patience_s),
                client.stream("POST", "/v1/chat/completions", json=body) as response,
            ):
                await heard.listen(response)
        except (TimeoutError, httpx.TimeoutException):
            outcome, why = ("left", "") if leave_s is not None else ("hung", "no end in time")
        except httpx.HTTPError as error:
            # Going away within a read shows as a broken connection, too.
            outcome, why = "cut" if leave_s is None else "left", f"{type(error).__name__}: {error}"
        if not outcome:
            outcome, why = heard.judge()
        return End(
            model,
            outcome,
            time.perf_counter() - began,
            heard.decision,
            heard.status != 0,
            heard.code,
            why,
        )

    def counts(self, model: str | None = None) -> Counter[str]:
        """Outcomes, of all or of one model."""
        return Counter(end.outcome for end in self.ends if model in (None, end.model))

    @property
    def over_deadline_s(self) -> float:
        """How far the slowest request went beyond the deadline; 0 when none did."""
        worst = max((end.seconds for end in self.ends if end.outcome != "left"), default=0.0)
        return max(worst - self.deadline_s, 0.0)


class _Heard:
    """What one caller has heard so far."""

    def __init__(self, prompt: str, stream: bool) -> None:
        self._prompt = prompt
        self._stream = stream
        self._text = ""
        self._foreign = ""
        self._wrong = ""
        self._ends: list[str] = []
        self.status = 0
        self.decision = ""
        self.code = ""

    async def listen(self, response: httpx.Response) -> None:
        """To the end of the response."""
        self.status = response.status_code
        self.decision = response.headers.get("x-coe-decision-id", "")
        if self.status == 200 and self._stream:
            async for line in _lines(response):
                self._event(line)
            return
        body = await response.aread()
        try:
            parsed: Any = json.loads(body)
            if self.status == 200:
                self._text = parsed["choices"][0]["message"]["content"]
                self._ends.append(DONE)
            else:
                self._error(parsed)
                self._ends.append("error")
        except (ValueError, KeyError, TypeError) as error:
            self._wrong = f"status {self.status} and {body[:60]!r}: {error!r}"

    def judge(self) -> tuple[str, str]:
        """Outcome and reason, after a response that ended."""
        if self._wrong:
            return "wrong", self._wrong
        if self._foreign:
            return "wrong", f"words of somebody else: {self._foreign[:60]!r}"
        if len(self._ends) != 1:
            return "wrong", f"ends of the stream: {self._ends}"
        if self.code:
            return "error", self.code
        if self._text != self._prompt:
            return "wrong", f"{self._text[:60]!r} for {self._prompt[:60]!r}"
        return "right", ""

    def _event(self, line: str) -> None:
        if not line.startswith("data:"):
            if line.strip() and not line.startswith((":", "event:", "id:", "retry:")):
                self._wrong = f"no event: {line[:60]!r}"
            return
        data = line[5:].strip()
        if data == DONE:
            self._ends.append(DONE)
            return
        try:
            parsed = json.loads(data)
            if "error" in parsed:
                self._error(parsed)
                self._ends.append("error")
                return
            piece = "".join(each["delta"].get("content") or "" for each in parsed["choices"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._wrong = f"{data[:60]!r}: {error!r}"
            return
        if piece.strip() and piece.strip() not in self._prompt.split():
            self._foreign = piece
        if len(self._text) < _SEEN_WORDS:
            self._text += piece

    def _error(self, parsed: Any) -> None:
        error = parsed["error"]
        missing = {"message", "type", "param", "code"} - error.keys()
        if missing or not error["code"]:
            self._wrong = f"an envelope without {sorted(missing) or 'code'}"
        self.code = str(error["code"])


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines as they come; of equal events in a row one, as no answer says a word twice but an endless one."""
    held = b""
    async for piece in response.aiter_raw():
        *blocks, held = (held + piece).split(b"\n\n")
        for block, _ in itertools.groupby(blocks):
            for line in block.split(b"\n"):
                yield line.decode().rstrip("\r")
    for line in held.split(b"\n"):
        yield line.decode()


@contextlib.asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[None]:
    """Run these coroutines while the block runs; they are cancelled at its end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
