"""Experts asked now and then whether they are well, so that a request need not find out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from coe.config import ProbeConfig
from coe.contracts import Probeable, Startable
from coe.errors import ExpertError

if TYPE_CHECKING:
    from coe.pool._pool import Pool

FIRST_WITHIN_S = 1.0
"""The first look at each expert comes within this time: replicas that start together do not ask together."""


@dataclass(slots=True)
class Probe:
    """What looking at one expert has shown.

    Attributes:
        config: how often and how.
        target: whom to ask.
        failed: looks in a row that went wrong.
        passes, failures: this process's looks since the start, by how they went.
        told: looks of another process that it has told of.
        why: what went wrong at the last look; empty when nothing did.
    """

    config: ProbeConfig
    target: Probeable
    failed: int = 0
    passes: int = 0
    failures: int = 0
    told: int = 0
    why: str = ""

    @property
    def failing(self) -> bool:
        """Whether enough looks in a row went wrong."""
        return self.failed >= self.config.failures

    @property
    def state(self) -> str:
        """In a word."""
        if self.failing:
            return "failing"
        return "ok" if self.passes + self.failures + self.told else "pending"

    def note(self, why: str, *, own: bool = True) -> bool:
        """One look more, this process's own or another's. Returns whether it changes what is thought."""
        before = self.failing
        self.why = why
        self.failed = self.failed + 1 if why else 0
        if not own:
            self.told += 1
        elif why:
            self.failures += 1
        else:
            self.passes += 1
        return before != self.failing


class Prober:
    """Looks at the experts of a pool that want it, each in its own rhythm.

    Args:
        pool: hears how they do.
        rng: for the rhythm, so that replicas do not fall into step.

    Attributes:
        looks: False where another process looks, and tells this one by `told`.
        tell: hears of each look, which expert and what is wrong with it.
    """

    def __init__(self, pool: Pool, rng: Random) -> None:
        self._pool = pool
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []
        self.looks = True
        self.tell: Callable[[str, str], None] | None = None

    def told(self, name: str, why: str) -> None:
        """Another process has looked at an expert. Of one that is not in this pool it means nothing."""
        if name in self._pool.members:
            self._pool.probed(name, why, own=False)

    def start(self) -> None:
        """Begin; needs a running loop."""
        if not self.looks:
            return
        for name, member in self._pool.members.items():
            if member.probe is not None and not self._tasks_of(name):
                self._tasks.append(asyncio.create_task(self._run(name, member.probe), name=name))

    async def aclose(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _tasks_of(self, name: str) -> bool:
        return any(task.get_name() == name for task in self._tasks)

    async def _run(self, name: str, probe: Probe) -> None:
        config = probe.config
        await asyncio.sleep(self._rng.random() * min(config.interval_s, FIRST_WITHIN_S))
        while True:
            # One that sleeps is not ill, and must not be woken by a look.
            if not isinstance(probe.target, Startable) or probe.target.awake:
                why = await self._look(probe)
                self._pool.probed(name, why)
                if self.tell is not None:
                    self.tell(name, why)
            swing = config.jitter * (2 * self._rng.random() - 1)
            await asyncio.sleep(config.interval_s * (1 + swing))

    @staticmethod
    async def _look(probe: Probe) -> str:
        """What is wrong; empty when nothing is."""
        timeout_s = probe.config.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await probe.target.probe(probe.config.path, timeout_s)
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except ExpertError as error:
            return error.message
        # An expert is a plugin: whatever it raises says that it is not well.
        except Exception as error:  # noqa: BLE001
            return type(error).__name__
        return ""
