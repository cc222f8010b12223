"""From a configuration to a running engine."""

from __future__ import annotations

from collections.abc import Callable

from coe.cache import DecisionStore, MemoryCache
from coe.config import Config
from coe.engine._engine import Engine, Observer, RouterBinding
from coe.pool import Breaker, Builder
from coe.registry import Registry


def open_engine(config: Config, registry: Registry, observer: Observer, clock: Callable[[], float]) -> Engine:
    """Build everything that a configuration names. Touches no network; `Engine.start` wakes the experts.

    Args:
        config: a checked configuration.
        registry: where the kinds come from.
        observer: told what happens.
        clock: monotonic seconds.

    Raises:
        UserError: something of the configuration cannot be built; the message names it.
    """
    builder = Builder(config, registry)
    pool = builder.pool(clock)
    bindings = {
        name: RouterBinding(
            router, config.routers[name].experts, Breaker(config.breaker.failures, config.breaker.open_s)
        )
        for name, router in builder.routers().items()
    }
    store = None
    if config.cache.enabled:
        store = DecisionStore(
            MemoryCache(config.cache.memory_entries, clock),
            ttl_s=config.cache.ttl_s,
            shared=builder.shared_cache(),
        )
    return Engine(pool, bindings, store, observer, clock, config.server.max_attempts)
