"""Decisions shared through Redis, with a bound on every wait.

A lookup joins the other lookups of its turn of the event loop in one MGET. Nobody owns a lookup: the answer
is given to all who wait for the key, so a caller that goes away takes nothing from the others. When the
deadline passes the callers go on with a miss, while the exchange itself may end in its own time and keep its
connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from redis.exceptions import ResponseError

from coe.breaker import Breaker, State
from coe.cache._codec import decode, encode
from coe.cache._lines import Lines
from coe.contracts import Decision

_log = logging.getLogger("coe.cache")

PREFIX = b"coe:decision:"
"""What the name of every decision in Redis starts with; the key's bytes follow."""

_LANES = 4
"""Exchanges under way at once. More lookups wait, within their deadline, and are joined in the next one."""
_EXCHANGE_S = 1.0
"""How long an exchange may go on when nobody waits for it any more."""
_QUEUE = 1024
"""Decisions that may wait to be written; more are dropped."""
_WRITES = 128
"""Decisions written in one pipeline."""
_TURNS = 3
"""Turns of the event loop that an answer has left when the deadline rings: one to be read from the socket,
one to wake the exchange, one to spare. No time at all when the loop is idle."""

_Waiters = list[asyncio.Future[Decision | None]]


@dataclass(slots=True)
class RedisStats:
    """Counters since the start, and the state of the breaker. A lookup that several share counts once.

    Attributes:
        hits, misses: lookups that Redis answered in time.
        timeouts: lookups given up at the deadline.
        errors: exchanges that failed: refused, reset, denied.
        corrupt: values that were no sound decision of this schema; misses too.
        skipped: lookups not tried, because the breaker was open.
        batches: exchanges of lookups sent.
        writes, writes_dropped: decisions written, and not written because Redis was away or behind.
        breaker: `closed` when all is well.
    """

    hits: int = 0
    misses: int = 0
    timeouts: int = 0
    errors: int = 0
    corrupt: int = 0
    skipped: int = 0
    batches: int = 0
    writes: int = 0
    writes_dropped: int = 0
    breaker: State = "closed"


@dataclass(slots=True)
class _Batch:
    """Lookups that go out together. `timer` is the deadline, then the end of an exchange nobody waits for."""

    waiters: dict[bytes, _Waiters] = field(default_factory=dict[bytes, _Waiters])
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None


class RedisCache:
    """A `DecisionCache` in Redis, for one event loop at a time. Never raises, never waits past the deadline.

    Args:
        url: redis://, rediss:// or unix:// URL. It may hold a password and is never shown.
        deadline_s: longest wait for a lookup, from when it is sent.
        clock: monotonic seconds, for the breaker.
        failures: exchanges failed in a row after which lookups are not tried.
        open_s: how long they are not tried, before a single lookup probes.

    Raises:
        ConfigError: the URL is not one.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float,
        clock: Callable[[], float],
        failures: int = 5,
        open_s: float = 2.0,
    ) -> None:
        self._lines = Lines(url)
        self._deadline_s = deadline_s
        self._clock = clock
        self._breaker = Breaker(failures, open_s)
        self._open_s = open_s
        self._stats = RedisStats()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: _Batch | None = None
        self._pending: dict[bytes, _Waiters] = {}
        self._exchanges: set[asyncio.Task[None]] = set()
        self._writes: dict[bytes, tuple[bytes, int]] = {}
        self._writer: asyncio.Task[None] | None = None

    def stats(self) -> RedisStats:
        """A snapshot."""
        return replace(self._stats, breaker=self._breaker.state(self._clock()))

    async def get(self, key: bytes) -> Decision | None:
        """The decision, or None: not there, not sound, not in time, or Redis is away."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        waiters = self._pending.get(key)
        if waiters is None:
            if self._closed or not self._breaker.admit(self._clock()):
                self._stats.skipped += 1
                return None
            waiters = self._enqueue(key, loop)
        future: asyncio.Future[Decision | None] = loop.create_future()
        waiters.append(future)
        return await future

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        """Queue the decision to be written; returns at once. Dropped when Redis is away or behind."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        if self._closed or self._breaker.changes_at() is not None or len(self._writes) >= _QUEUE:
            self._stats.writes_dropped += 1
            return
        self._writes[key] = (encode(key, decision), max(1, round(ttl_s * 1000)))
        if self._writer is None:
            self._writer = loop.create_task(self._write())

    async def aclose(self) -> None:
        """Write what is queued, within `_EXCHANGE_S`, and close the connections."""
        self._closed = True
        if self._waiting is not None:
            self._settle(self._waiting, {})
            self._waiting = None
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=_EXCHANGE_S)
        tasks = [*self._exchanges, *((self._writer,) if self._writer else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lines.aclose()

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave behind what belongs to a loop that is gone: its futures would never be answered."""
        if self._loop is not None:
            self._lines.forget()
        self._loop, self._waiting, self._writer = loop, None, None
        self._pending, self._exchanges = {}, set()

    # --- lookups

    def _enqueue(self, key: bytes, loop: asyncio.AbstractEventLoop) -> _Waiters:
        batch = self._waiting
        if batch is None:
            batch = self._waiting = _Batch()
            # Next turn: whatever else this turn of the loop looks up comes along.
            loop.call_soon(self._send, loop)
        waiters = batch.waiters[key] = self._pending[key] = []
        return waiters

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._waiting
        if batch is None:
            return
        if len(self._exchanges) >= _LANES:
            self._arm(batch, loop)
            return
        self._waiting = None
        task = batch.task = loop.create_task(self._exchange(batch, loop))
        self._exchanges.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._exchanges.discard(task)
        self._send(task.get_loop())

    def _arm(self, batch: _Batch, loop: asyncio.AbstractEventLoop) -> None:
        """Start the deadline: when the batch is sent or has to wait for a lane, whichever is first.

        Not when it is made: a busy event loop may take longer than the deadline to get around to sending it.
        """
        if batch.timer is None:
            batch.timer = loop.call_later(self._deadline_s, self._expire, batch, loop, _TURNS)

    async def _exchange(self, batch: _Batch, loop: asyncio.AbstractEventLoop) -> None:
        self._arm(batch, loop)
        keys = list(batch.waiters)
        if not keys:  # Given up between being handed to this task and its start.
            return
        self._stats.batches += 1
        try:
            (values,) = await self._lines.exchange([("MGET", *(PREFIX + key for key in keys))])
            if isinstance(values, ResponseError):
                raise values
        except Exception as error:  # noqa: BLE001 - whatever the client library raises, the lookups are misses.
            self._stats.errors += 1
            self._fail(batch, type(error).__name__)
        else:
            if batch.waiters:  # Otherwise they have been given up.
                self._answer(batch, keys, values)
        finally:
            self._settle(batch, {})

    def _answer(self, batch: _Batch, keys: Sequence[bytes], values: Sequence[object]) -> None:
        if self._breaker.success():
            _log.info("redis_back endpoint=%s", self._lines.endpoint)
        found: dict[bytes, Decision] = {}
        for key, value in zip(keys, values, strict=True):
            if value is None:
                continue
            decision = decode(key, value) if isinstance(value, bytes) else None
            if decision is None:
                self._stats.corrupt += 1
            else:
                found[key] = decision
        self._stats.hits += len(found)
        self._stats.misses += len(keys) - len(found)
        self._settle(batch, found)

    def _expire(self, batch: _Batch, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        if not batch.waiters:
            return
        if turns:
            # The loop may have been busy, and the answer be there unread.
            loop.call_soon(self._expire, batch, loop, turns - 1)
            return
        if batch is self._waiting:
            self._waiting = None
        self._stats.timeouts += len(batch.waiters)
        self._fail(batch, "deadline")
        if batch.task is not None:
            # An answer may still come and the connection be of use; but not for ever.
            batch.timer = loop.call_later(_EXCHANGE_S, batch.task.cancel)

    def _fail(self, batch: _Batch, why: str) -> None:
        """Count one failure for the batch, unless it has been given up before, and let its callers go on."""
        if not batch.waiters:
            return
        if self._breaker.failure(self._clock()):
            _log.warning("redis_away endpoint=%s why=%s retry_s=%g", self._lines.endpoint, why, self._open_s)
        self._settle(batch, {})

    def _settle(self, batch: _Batch, found: dict[bytes, Decision]) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        for key, waiters in batch.waiters.items():
            if self._pending.get(key) is waiters:
                del self._pending[key]
            decision = found.get(key)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(decision)
        batch.waiters.clear()

    # --- writes

    async def _write(self) -> None:
        """Write the queue, joined, until it is empty. One such task at a time."""
        try:
            while self._writes and self._breaker.changes_at() is None:
                keys = list(islice(self._writes, _WRITES))
                await self._write_some([(PREFIX + key, *self._writes.pop(key)) for key in keys])
        finally:
            self._stats.writes_dropped += len(self._writes)
            self._writes.clear()
            self._writer = None

    async def _write_some(self, entries: Sequence[tuple[bytes, bytes, int]]) -> None:
        commands = [("SET", name, value, "PX", ttl_ms) for name, value, ttl_ms in entries]
        try:
            async with asyncio.timeout(_EXCHANGE_S):
                replies = await self._lines.exchange(commands)
        except Exception:  # noqa: BLE001 - as above; what could not be written is decided anew elsewhere.
            self._stats.errors += 1
            replies = []
        written = replies.count(b"OK")
        self._stats.writes += written
        self._stats.writes_dropped += len(entries) - written
