"""A vLLM server that is launched, watched and started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from coe_vllm.server._backoff import Backoff
from coe_vllm.server._log import phase
from coe_vllm.server._process import Order, Process, StartFailed

_log = logging.getLogger("coe.vllm.server")
# A start takes minutes: what it is doing is worth a line, whatever else is logged.
_log.setLevel(logging.INFO)
_FIRST_POLL_S = 0.1
_POLL_S = 0.5

State = Literal["stopped", "starting", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Status:
    """How a server is: its state, and in words what it is doing or why it failed."""

    state: State
    what: str = ""


class Server:
    """Starts a server on demand, says when it is ready, starts it again when it dies.

    Args:
        name: for the log.
        order: what to run; asked for at each start, so that a port can be another one.
        ready: whether the server that the last order describes answers; called again and again.
        start_timeout_s: longest time from launch to ready.
    """

    def __init__(
        self,
        name: str,
        order: Callable[[], Order],
        ready: Callable[[], Awaitable[bool]],
        start_timeout_s: float,
    ) -> None:
        self._name = name
        self._order = order
        self._ready = ready
        self._start_timeout_s = start_timeout_s
        self._process: Process | None = None
        self._serving = False
        self._starting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._phase = ""
        self._began_s = 0.0
        self._failure = ""
        self._reviving = False
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether it is ready and its process lives."""
        return self._serving and self._process is not None and self._process.running

    @property
    def pid(self) -> int | None:
        """Id of the server process, while there is one."""
        return self._process.pid if self._process else None

    @property
    def status(self) -> Status:
        """How it is now."""
        if self.running:
            return Status("ready")
        if self._starting is not None:
            spent_s = asyncio.get_running_loop().time() - self._began_s
            return Status("starting", f"{self._phase}, {spent_s:.0f} s so far")
        return Status("failed", self._failure) if self._failure else Status("stopped")

    async def start(self) -> None:
        """Launch it and wait until it is ready; whoever calls meanwhile waits for the same start.

        One that died is started again without callers: they may have somebody else to turn to.

        Raises:
            StartFailed: it ended, was not ready in time, failed a moment ago, or has died and is not back
                yet; the message says why.
        """
        if self._reviving and not self.running:
            raise StartFailed(f"{self._failure}; it is being started again")
        await self._launched()

    async def _launched(self) -> None:
        if self.running:
            return
        if self._closed:
            raise StartFailed("it is closed")
        if self._starting is None:
            loop = asyncio.get_running_loop()
            if (wait_s := self._backoff.wait_s(loop.time())) > 0:
                raise StartFailed(f"{self._failure}; the next try is in {wait_s:.0f} s")
            self._began_s, self._phase = loop.time(), "launching"
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        # One caller's cancellation must not end the start that others wait for.
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """End the server; `start` begins it again."""
        for task in (self._starting, self._watching):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._watching = None
        process, self._process, self._serving, self._failure = self._process, None, False, ""
        if process is not None:
            await process.stop()
            _log.info("vllm stopped: expert=%s", self._name)

    async def aclose(self) -> None:
        """End the server for good."""
        self._closed = True
        await self.stop()

    def retry_after_s(self) -> float | None:
        """Seconds until a failed server is tried again."""
        return self._backoff.wait_s(asyncio.get_running_loop().time()) or None

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # a restart in the background has nobody else to look at it

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        process = None
        try:
            process = self._process = await Process.launch(self._order(), self._on_line)
            _log.info("vllm launched: expert=%s pid=%d", self._name, process.pid)
            await self._until_ready(process)
        except BaseException as error:
            if process is not None:
                await asyncio.shield(process.stop())
            self._process = None
            if isinstance(error, StartFailed):
                self._failure = str(error)
                self._backoff.failed(loop.time())
                _log.warning("vllm did not start: expert=%s why=%s", self._name, self._failure)
            raise
        self._serving, self._failure = True, ""
        self._watching = asyncio.create_task(self._watch(process, loop.time()))
        _log.info("vllm ready: expert=%s after_s=%.1f", self._name, loop.time() - self._began_s)

    async def _until_ready(self, process: Process) -> None:
        ended = asyncio.create_task(process.wait())
        wait_s = _FIRST_POLL_S
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while not ended.done():
                    if await self._ready():
                        return
                    await asyncio.wait([ended], timeout=wait_s)
                    wait_s = min(_POLL_S, wait_s * 1.5)
        except TimeoutError:
            said = next((line for line in reversed(process.tail) if line.strip()), "nothing")
            raise StartFailed(
                f"it was not ready after {self._start_timeout_s:.0f} s ({self._phase}); its last words: "
                f"{said[-300:]}"
            ) from None
        finally:
            if not ended.done():
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)
        raise StartFailed(ended.result())

    def _on_line(self, line: str) -> None:
        if self._serving or (now := phase(line)) is None or now == self._phase:
            return
        self._phase = now
        spent_s = asyncio.get_running_loop().time() - self._began_s
        _log.info(
            "vllm starting: expert=%s phase=%s after_s=%.1f", self._name, now.replace(" ", "_"), spent_s
        )

    async def _watch(self, process: Process, since_s: float) -> None:
        """Start it again once it has died or no longer answers, after a pause."""
        loop = asyncio.get_running_loop()
        how = await self._death(process)
        self._serving = False
        await process.stop()
        self._process = None
        self._failure = how
        _log.warning("vllm died: expert=%s how=%s", self._name, how)
        self._backoff.failed(loop.time(), served_s=loop.time() - since_s)
        self._reviving = True
        try:
            while not self._closed and not self.running:
                await asyncio.sleep(self._backoff.wait_s(loop.time()))
                # A failure is noted for the requests that come meanwhile.
                with contextlib.suppress(StartFailed):
                    await self._launched()
        finally:
            self._reviving = False

    async def _death(self, process: Process) -> str:
        """How it died. vLLM's API process outlives its engine: then /health fails for good."""
        ended = asyncio.create_task(process.wait())
        failures = 0
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=_WATCH_S)
                failures = 0 if ended.done() or await self._ready() else failures + 1
                if failures >= _FAILURES:
                    return "its health check keeps failing"
            return ended.result()
        finally:
            ended.cancel()


_WATCH_S = 2.0
_FAILURES = 3
"""Failed health checks in a row after which a server is taken for dead: a busy one may miss one or two."""
