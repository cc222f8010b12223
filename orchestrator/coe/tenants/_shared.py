"""Limits that replicas share, in Redis, with a bound on every wait.

What one turn of the event loop asks goes out together, and one exchange is under way at a time, so Redis sees
the calls of a replica in their order. Who is not answered in time goes on with the limits of its own process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.exceptions import NoScriptError, ResponseError

from coe.breaker import Breaker
from coe.cache import Lines
from coe.tenants._scripts import SCRIPTS, Script

_log = logging.getLogger("coe.tenants")

_EXCHANGE_S = 1.0
"""How long an exchange may go on when nobody waits for it any more."""
_GRACE_S = 0.001
"""A deadline that rings later than this says that the event loop was busy, not that Redis was slow."""
_QUEUE = 4096
"""Calls that may wait to be sent; more go on without Redis."""

Argument = str | int
Answer = list[int]


@dataclass(slots=True)
class SharedStats:
    """Counters since the start.

    Attributes:
        answered: calls that Redis answered in time.
        timeouts: calls given up at the deadline.
        errors: calls that failed: refused, reset, denied, wrong data.
        skipped: calls not tried, because the breaker was open or too many waited.
    """

    answered: int = 0
    timeouts: int = 0
    errors: int = 0
    skipped: int = 0


@dataclass(slots=True, eq=False)
class _Call:
    """A script to run. `future` is None when nobody waits for its answer."""

    script: Script
    arguments: tuple[Argument, ...]
    future: asyncio.Future[Answer | None] | None
    graced: bool = False

    def by_name(self) -> tuple[Argument, ...]:
        return ("EVALSHA", self.script.sha, *self.arguments)

    def in_full(self) -> tuple[str | bytes | int, ...]:
        return ("EVAL", self.script.text, *self.arguments)


class SharedLimits:
    """Runs scripts in Redis, for one event loop. Never raises, never waits past the deadline.

    Args:
        url: redis://, rediss:// or unix:// URL. It may hold a password and is never shown.
        clock: monotonic seconds, for the breaker.
        deadline_s: longest wait for an answer.
        failures: exchanges failed in a row after which calls are not tried.
        open_s: how long they are not tried.

    Raises:
        ConfigError: the URL is not one.
    """

    def __init__(
        self,
        url: str,
        clock: Callable[[], float],
        *,
        deadline_s: float = 0.005,
        failures: int = 5,
        open_s: float = 2.0,
    ) -> None:
        self._lines = Lines(url)
        self._clock = clock
        self._deadline_s = deadline_s
        self._breaker = Breaker(failures, open_s)
        self._stats = SharedStats()
        self._queue: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None
        self._late_until = 0.0
        self._closed = False

    def stats(self) -> SharedStats:
        """A snapshot."""
        return replace(self._stats)

    async def ask(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Answer | None:
        """Run a script and wait for the whole numbers that it answers; None when they do not come in time."""
        loop = asyncio.get_running_loop()
        call = _Call(script, (len(keys), *keys, *arguments), loop.create_future())
        if not self._enqueue(call, loop) or call.future is None:
            return None
        due = loop.time() + self._deadline_s
        timer = loop.call_at(due, self._expire, call, due, loop)
        try:
            return await call.future
        finally:
            timer.cancel()

    def tell(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> None:
        """Run a script soon; nobody waits for it. It is lost when Redis is away."""
        self._enqueue(_Call(script, (len(keys), *keys, *arguments), None), asyncio.get_running_loop())

    async def connect(self) -> None:
        """Open a connection and bring the scripts, so that the first request need not wait for it."""
        try:
            async with asyncio.timeout(_EXCHANGE_S):
                await self._lines.exchange([("SCRIPT", "LOAD", each.text) for each in SCRIPTS])
        except Exception as error:  # noqa: BLE001 - as below; the first request tries again.
            _log.warning("redis_away endpoint=%s why=%s", self._lines.endpoint, type(error).__name__)

    async def aclose(self) -> None:
        """Send what is queued, within `_EXCHANGE_S`, and close the connection."""
        self._closed = True
        if self._sender is not None:
            await asyncio.wait((self._sender,), timeout=_EXCHANGE_S)
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        await self._lines.aclose()

    def _enqueue(self, call: _Call, loop: asyncio.AbstractEventLoop) -> bool:
        if self._closed or len(self._queue) >= _QUEUE or not self._breaker.admit(self._clock()):
            self._stats.skipped += 1
            return False
        self._queue.append(call)
        if self._sender is None:
            # It starts in the next turn: whatever else this turn of the loop asks comes along.
            self._sender = loop.create_task(self._send())
        return True

    async def _send(self) -> None:
        """Exchange until nothing is queued. One such task at a time."""
        calls: list[_Call] = []
        try:
            while self._queue:
                calls, self._queue = self._queue, []
                await self._exchange_all(calls)
        finally:
            self._sender = None
            for call in (*calls, *self._queue):
                _answer(call, None)
            self._queue.clear()

    async def _exchange_all(self, calls: Sequence[_Call]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._deadline_s
        try:
            async with asyncio.timeout(_EXCHANGE_S):
                replies = await self._replies(calls)
        except Exception as error:  # noqa: BLE001 - whatever the client library raises, Redis is away.
            self._stats.errors += len(calls)
            self._failed(type(error).__name__)
            replies = []
        for call, reply in zip(calls, replies, strict=False):
            if isinstance(reply, list):
                self._stats.answered += call.future is None or not call.future.done()
                _answer(call, [int(each) for each in cast("list[Any]", reply)])
        if errors := [reply for reply in replies if isinstance(reply, ResponseError)]:
            self._stats.errors += len(errors)
            self._failed(type(errors[0]).__name__)
        # Late answers are no reason to wait again for the next ones.
        elif replies and loop.time() <= due + _GRACE_S and self._breaker.success():
            _log.info("redis_back endpoint=%s", self._lines.endpoint)
        for call in calls:
            _answer(call, None)

    async def _replies(self, calls: Sequence[_Call]) -> list[Any]:
        replies = await self._lines.exchange([call.by_name() for call in calls])
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # Redis has forgotten the scripts, or never knew them.
            again = await self._lines.exchange([calls[index].in_full() for index in unknown])
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return replies

    def _expire(self, call: _Call, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if call.future is None or call.future.done():
            return
        if not call.graced and loop.time() - due > _GRACE_S:
            # The loop was held up, and the answer may be there unread: look at the socket once more.
            call.graced = True
            loop.call_later(_GRACE_S, self._expire, call, due, loop)
            return
        self._stats.timeouts += 1
        # Calls that waited together are one failure.
        if loop.time() >= self._late_until:
            self._late_until = loop.time() + self._deadline_s
            self._failed("deadline")
        _answer(call, None)

    def _failed(self, why: str) -> None:
        if self._breaker.failure(self._clock()):
            _log.warning("redis_away endpoint=%s why=%s", self._lines.endpoint, why)


def _answer(call: _Call, answer: Answer | None) -> None:
    if call.future is not None and not call.future.done():
        call.future.set_result(answer)
