"""What a configuration is built into."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coe.config import Config
from coe.contracts import Expert
from coe.engine import Engine, Observer, open_engine
from coe.gateway._exposure import refuse_open
from coe.journal import Journal, open_journal
from coe.registry import Registry

if TYPE_CHECKING:
    from coe.gateway._tracing import Tracing
    from coe.tenants import Tenants


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A configuration and all that was built from it.

    Attributes:
        engine: routes and asks.
        journal: where requests leave their records; None when none is kept.
        tenants: who may ask and how much; None when everybody may, without limits.
        tracing: makes spans; None when nobody wants any.
    """

    config: Config
    engine: Engine
    journal: Journal | None = None
    tenants: Tenants | None = None
    tracing: Tracing | None = None

    async def start(self) -> None:
        """Connect what is shared and wake the experts. What fails is tried again when it is needed."""
        if self.tenants is not None:
            await self.tenants.start()
        await self.engine.start()

    async def aclose(self, living: Iterable[Built] = ()) -> None:
        """Free all but what one of the `living` has taken over."""
        living = tuple(living)
        await self.engine.aclose(each.engine for each in living)
        if self.tenants is not None:
            await self.tenants.aclose()
        if self.journal is not None and all(self.journal is not each.journal for each in living):
            # It waits for the disk.
            await asyncio.to_thread(self.journal.close)
        if self.tracing is not None and all(self.tracing is not each.tracing for each in living):
            await asyncio.to_thread(self.tracing.close)


def build(
    config: Config,
    registry: Registry,
    observer: Observer,
    clock: Callable[[], float],
    previous: Built | None = None,
    wall_clock: Callable[[], float] = time.time,
    stand_in: Callable[[Expert], Expert] | None = None,
) -> Built:
    """Build everything that a configuration names. Touches no network; `Built.start` does.

    Args:
        config: a checked configuration.
        registry: where the kinds come from.
        observer: told what the engine does.
        clock: monotonic seconds.
        previous: what the new one shall follow: what has not changed is taken over.
        wall_clock: seconds since 1970.
        stand_in: see `coe.pool.Builder`.

    Raises:
        UserError: something of the configuration cannot be built; the message names it.
    """
    refuse_open(config)
    before = (previous.config, previous.engine) if previous else None
    tenants = _tenants(config, clock, wall_clock, previous)
    engine = open_engine(config, registry, observer, clock, before, stand_in, secrets.randbits(32))
    if previous is not None and previous.config.tracing == config.tracing:
        tracing = previous.tracing
    else:
        tracing = _tracing(config)
    if previous is not None and _keeps_journal(previous.config, config):
        return Built(config, engine, previous.journal, tenants, tracing)
    journal = open_journal(config.journal, config.base_dir, clock, wall_clock)
    return Built(config, engine, journal, tenants, tracing)


# What is not configured is not imported: a server shall answer soon after its start.


def _tenants(
    config: Config, clock: Callable[[], float], wall_clock: Callable[[], float], previous: Built | None
) -> Tenants | None:
    if not config.tenants.named:
        return None
    from coe.tenants import open_tenants

    before = previous.tenants if previous else None
    return open_tenants(config, clock, wall_clock, secrets.token_hex(8), before)


def _tracing(config: Config) -> Tracing | None:
    if config.tracing.exporter is None:
        return None
    from coe.gateway._tracing import open_tracing

    return open_tracing(config.tracing)


def _keeps_journal(old: Config, new: Config) -> bool:
    return (old.journal, old.base_dir) == (new.journal, new.base_dir)
