"""Memory that several servers share: carries out what `Residency` decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from coe.contracts import Card, Context, Reply
from coe.errors import ExpertError, ExpertRejected, ExpertUnavailable
from coe.wire import ChatRequest
from coe_vllm.residency import Memory, Model, Residency, Step

_log = logging.getLogger("coe.vllm")


class Sleeper(Protocol):
    """What the memory does to a server."""

    async def wake(self) -> None:
        """From host memory or from disk, whichever it is in. Raises `ExpertUnavailable`."""
        ...

    async def sleep(self) -> None:
        """To host memory. Raises `ExpertUnavailable`."""
        ...

    async def stop(self) -> None:
        """To disk. Raises `ExpertUnavailable`."""
        ...


class SharedMemory:
    """An expert in name only: servers of the pool name it as their `memory`.

    Args:
        card: without capabilities, so that no request is ever routed to it.
        memory: how much there is.
        max_overtaken: see `Residency`.
    """

    def __init__(self, card: Card, memory: Memory, max_overtaken: int) -> None:
        self._card = card
        self._residency = Residency(memory, max_overtaken)
        self._sleepers: dict[str, Sleeper] = {}
        self._changed = asyncio.Condition()
        self._working: asyncio.Task[None] | None = None
        self._failures: dict[str, str] = {}

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def residency(self) -> Residency:
        """Who is where."""
        return self._residency

    def add(self, model: Model, sleeper: Sleeper) -> None:
        """Take a server in."""
        self._residency.add(model)
        self._sleepers[model.name] = sleeper

    def gone(self, name: str, sleeper: Sleeper) -> None:
        """A server has been closed; does nothing when another one has its name by now."""
        if self._sleepers.get(name) is sleeper:
            self._residency.note(name, tier="disk")

    # Not `awake` and `start`: with both it would look like an expert that can be started (`Startable`).
    def resident(self, name: str) -> bool:
        """Whether the server is in the accelerator's memory."""
        return self._residency.models[name].tier == "gpu"

    async def invite(self, name: str) -> None:
        """Wake a server if it fits beside those that are awake. Raises `ExpertUnavailable` if it does not."""
        if not self._residency.fits(name):
            raise ExpertUnavailable(f"`{name}` sleeps until it is asked: the memory is taken.", expert=name)
        async with self.hold(name):
            pass

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncGenerator[None, None]:
        """Within it the server is awake and stays so. Raises `ExpertUnavailable` if it cannot be woken."""
        now_s = asyncio.get_running_loop().time()
        if not self._residency.arrive(name, now_s):
            await self._wait_for(name)
        try:
            yield
        finally:
            self._residency.leave(name)
            self._work()

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """It answers nothing. Raises `ExpertRejected`."""
        raise ExpertRejected(
            f"`{self._card.name}` is memory, not a model.", status=400, expert=self._card.name, param="model"
        )

    def found(self, name: str, *, asleep: bool) -> None:
        """A server that somebody else started was found awake or asleep."""
        self._residency.note(name, tier="host" if asleep else "gpu")

    async def aclose(self) -> None:
        """Stop moving models; the servers are closed as experts."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _wait_for(self, name: str) -> None:
        self._failures.pop(name, None)
        self._work()
        try:
            async with self._changed:
                while not self._residency.retry(name):
                    if (why := self._failures.get(name)) is not None:
                        raise ExpertUnavailable(why, expert=name)
                    await self._changed.wait()
        except BaseException:
            self._residency.give_up(name)
            self._work()
            raise

    def _work(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._move())

    async def _move(self) -> None:
        """Carry out steps until there is nothing to do."""
        loop = asyncio.get_running_loop()
        while steps := self._residency.next_steps(loop.time()):
            try:
                for step in steps:
                    await self._carry_out(step)
            except ExpertError as error:
                # Whoever waits for the model that was to wake hears why, leaves the queue, and works on.
                self._failures[steps[-1].model] = str(error)
                return
            finally:
                self._residency.finished()
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(0)

    async def _carry_out(self, step: Step) -> None:
        loop = asyncio.get_running_loop()
        sleeper, began_s = self._sleepers[step.model], loop.time()
        if step.verb == "sleep":
            await sleeper.sleep()
        elif step.verb == "stop":
            await sleeper.stop()
        else:
            await sleeper.wake()
        self._residency.done(step)
        took_s = loop.time() - began_s
        if step.verb in ("wake", "start"):
            self._residency.note(step.model, **{f"{step.verb}_s": took_s})
        _log.info("residency: step=%s expert=%s after_s=%.2f", step.verb, step.model, took_s)
