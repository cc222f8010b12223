"""Asks the base expert: counted, kept, a few at a time, again when it failed for a moment."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from coe.contracts import Context, Expert, Startable
from coe.errors import ExpertError, ExpertProtocolError
from coe.wire import chat_request
from coe_mop._ledger import Ledger, key_of

_ATTEMPTS = 3
_TENANT = "coe-mop"
_EVAL_SEED = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """One call: the messages, the longest answer, and for a drawn answer its seed (None: the likeliest)."""

    messages: Sequence[dict[str, Any]]
    max_tokens: int
    seed: int | None = None


class Caller:
    """Asks `expert`.

    Args:
        expert: the base.
        ledger: counts and keeps.
        concurrency: calls under way at the same time.
        timeout_s: longest time for one call.
        progress: told (calls spent, budget) after each answer.
        clock, sleep: monotonic seconds, and waiting for some.
    """

    def __init__(
        self,
        expert: Expert,
        ledger: Ledger,
        *,
        concurrency: int = 4,
        timeout_s: float = 120,
        progress: Callable[[int, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._expert = expert
        self.ledger = ledger
        self._gate = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._started = False
        self.used: set[str] = set()
        """The calls whose answers were given out: the same however often a run was interrupted."""

    async def ask_all(self, asks: Sequence[Ask]) -> list[str]:
        """The answers, in order. Equal calls are made once.

        Raises:
            BudgetSpent: no call is left.
            ExpertError: a call failed three times, or was refused. Answers that came are kept.
        """
        payloads = [_payload(ask) for ask in asks]
        keys = [key_of(payload) for payload in payloads]
        missing = {
            key: payload
            for key, payload in zip(keys, payloads, strict=True)
            if self.ledger.known(key) is None
        }
        if missing and not self._started:
            if isinstance(self._expert, Startable):
                await self._expert.start()
            self._started = True
        try:
            async with asyncio.TaskGroup() as group:
                for key, payload in missing.items():
                    group.create_task(self._ask(key, payload))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        self.used.update(keys)
        return [self.ledger.known(key) or "" for key in keys]

    async def _ask(self, key: str, payload: dict[str, Any]) -> str:
        async with self._gate:
            for attempt in range(_ATTEMPTS):
                self.ledger.spend(key)
                try:
                    answer = await self._once(payload)
                except ExpertError as error:
                    if not error.retryable or attempt == _ATTEMPTS - 1:
                        raise
                    await self._sleep(error.retry_after_s or 2.0**attempt)
                else:
                    self.ledger.keep(key, answer)
                    if self._progress is not None:
                        self._progress(self.ledger.spent, self.ledger.budget)
                    return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, payload: dict[str, Any]) -> str:
        context = Context(
            tenant=_TENANT,
            request_id=key_of(payload),
            deadline=self._clock() + self._timeout_s,
            clock=self._clock,
        )
        reply = await self._expert.complete(chat_request(payload), context)
        try:
            choice = cast("dict[str, Any]", json.loads(reply.body or b""))["choices"][0]
            return str(choice["message"]["content"] or "")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            name = self._expert.card.name
            raise ExpertProtocolError(f"`{name}` gave no chat completion: {error!r}.", expert=name) from error


def _payload(ask: Ask) -> dict[str, Any]:
    drawn = ask.seed is not None
    return {
        "model": "mop",
        "messages": list(ask.messages),
        "max_tokens": ask.max_tokens,
        "temperature": 0.9 if drawn else 0,
        **({"top_p": 0.9} if drawn else {}),
        "seed": ask.seed if drawn else _EVAL_SEED,
    }
