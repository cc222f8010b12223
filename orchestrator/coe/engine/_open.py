"""From a configuration to a running engine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from coe.breaker import Breaker
from coe.cache import DecisionStore, MemoryCache
from coe.config import Config
from coe.contracts import Expert
from coe.engine._engine import Engine, Observer, RouterBinding
from coe.engine._retries import RetryBudget
from coe.engine._sessions import Sessions
from coe.pool import Builder, Prober
from coe.registry import Registry


def open_engine(
    config: Config,
    registry: Registry,
    observer: Observer,
    clock: Callable[[], float],
    previous: tuple[Config, Engine] | None = None,
    stand_in: Callable[[Expert], Expert] | None = None,
    seed: int = 0,
) -> Engine:
    """Build everything that a configuration names. Touches no network; `Engine.start` wakes the experts.

    Args:
        config: a checked configuration.
        registry: where the kinds come from.
        observer: told what happens.
        clock: monotonic seconds.
        previous: a configuration and its engine, which the new one shall follow: experts and the decision
            cache that have not changed are taken over, and so are sessions.
        stand_in: see `coe.pool.Builder`.
        seed: of the rhythm in which experts are looked at; another in each process.

    Raises:
        UserError: something of the configuration cannot be built; the message names it.
    """
    old, before = previous or (None, None)
    builder = Builder(config, registry, (old, before.pool) if old and before else None, stand_in)
    pool = builder.pool(clock)
    bindings = {
        name: RouterBinding(
            router, config.routers[name].experts, Breaker(config.breaker.failures, config.breaker.open_s)
        )
        for name, router in builder.routers().items()
    }
    store = None
    if old and before and (old.cache, old.base_dir) == (config.cache, config.base_dir):
        # Its keys hold the revisions of routers and pools: what another configuration decided is not found.
        store = before.store
    elif config.cache.enabled or config.cache.shared is not None:
        store = DecisionStore(
            MemoryCache(config.cache.memory_entries, clock),
            ttl_s=config.cache.ttl_s,
            shared=builder.shared_cache(),
            decides=config.cache.enabled,
        )
    server = config.server
    retries = RetryBudget(server.retry_ratio, server.retry_per_s)
    sessions = Sessions(
        clock,
        ttl_s=config.sessions.ttl_s,
        most=config.sessions.memory_entries,
        fingerprints=config.sessions.fingerprint,
        shared=store.shared if store is not None else None,
        previous=before.sessions if before else None,
    )
    prober = None
    if any(member.probe is not None for member in pool.members.values()):
        prober = Prober(pool, Random(seed))  # noqa: S311 - nothing secret depends on it
    return Engine(pool, bindings, store, observer, clock, server.max_attempts, retries, sessions, prober)
