"""What a configuration is built into."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coe.config import Config
from coe.engine import Engine, Observer, open_engine
from coe.registry import Registry


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A configuration and all that was built from it.

    Attributes:
        engine: routes and asks.
    """

    config: Config
    engine: Engine

    async def start(self) -> None:
        """Connect what is shared and wake the experts. What fails is tried again when it is needed."""
        await self.engine.start()

    async def aclose(self, living: Iterable[Built] = ()) -> None:
        """Free all but what one of the `living` has taken over."""
        await self.engine.aclose(each.engine for each in living)


def build(
    config: Config,
    registry: Registry,
    observer: Observer,
    clock: Callable[[], float],
    previous: Built | None = None,
) -> Built:
    """Build everything that a configuration names. Touches no network; `Built.start` does.

    Args:
        config: a checked configuration.
        registry: where the kinds come from.
        observer: told what the engine does.
        clock: monotonic seconds.
        previous: what the new one shall follow: what has not changed is taken over.

    Raises:
        UserError: something of the configuration cannot be built; the message names it.
    """
    before = (previous.config, previous.engine) if previous else None
    return Built(config, open_engine(config, registry, observer, clock, before))
