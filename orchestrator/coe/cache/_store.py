"""What the engine uses: memory first, then the shared cache, then the router."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from coe.cache._key import KEY_BYTES
from coe.cache._memory import MemoryCache
from coe.contracts import Decision, DecisionCache, Reason


class Source(StrEnum):
    """Where a decision came from."""

    MEMORY = "memory"
    SHARED = "shared"
    COMPUTED = "computed"


@dataclass(slots=True)
class StoreStats:
    """Decisions given since the start, by source.

    Attributes:
        memory, shared, computed: how many came from where.
        refused: decisions of the shared cache that another router revision made, or that do not fit the
            pool; not used.
        failures: times that the shared cache raised, which it must not; taken as a miss.
        entries: decisions in memory now.
    """

    memory: int = 0
    shared: int = 0
    computed: int = 0
    refused: int = 0
    failures: int = 0
    entries: int = 0


class DecisionStore:
    """Memory, then the shared cache, then the router.

    Concurrent requests for one key share one computation: computing is synchronous and its result is in
    memory before any other request runs, and each looks there again after it has waited for the shared cache.
    So there is no leader whose end could take others along.

    Args:
        memory: kept in this process.
        ttl_s: how long a decision is kept, in memory and in the shared cache.
        shared: where replicas share decisions, if anywhere. Its `set` must not wait.
        decides: False where every decision shall be computed, and replicas share only sessions.
    """

    def __init__(
        self, memory: MemoryCache, *, ttl_s: float, shared: DecisionCache | None = None, decides: bool = True
    ) -> None:
        self.decides = decides
        self._memory = memory
        self._shared = shared
        self._ttl_s = ttl_s
        self._stats = StoreStats()

    @property
    def shared(self) -> DecisionCache | None:
        """The shared cache, for its own counters."""
        return self._shared

    def peek(self, key: bytes) -> Decision | None:
        """The decision if it is in memory. Synchronous, a microsecond."""
        decision = self._memory.peek(key)
        if decision is not None:
            self._stats.memory += 1
        return decision

    async def connect(self) -> None:
        """Let the shared cache open its connection, so that the first request need not wait for it."""
        if self._shared is not None:
            await self._ask(self._shared, bytes(KEY_BYTES), lambda _: False)

    async def get_or_compute(
        self,
        key: bytes,
        revision: str,
        compute: Callable[[], Decision],
        fits: Callable[[Decision], bool] = lambda _: True,
    ) -> tuple[Decision, Source]:
        """The decision of this key, from the nearest place that has it.

        Args:
            key: `decision_key` of the request.
            revision: of the router that would decide: a shared decision of any other is not used.
            compute: decides, synchronously. What it raises is raised to this caller only and not kept.
            fits: whether a shared decision may be used. What another process wrote is data from outside: the
                caller checks that it names experts that it knows.
        """
        decision = self.peek(key)
        if decision is not None:
            return decision, Source.MEMORY
        if self._shared is not None:
            decision = await self._ask(
                self._shared, key, lambda found: found.revision == revision and fits(found)
            )
            if decision is not None:
                self._memory.put(key, decision, self._ttl_s)
                self._stats.shared += 1
                return decision, Source.SHARED
            decision = self.peek(key)  # Another request may have computed it meanwhile.
            if decision is not None:
                return decision, Source.MEMORY
        decision = compute()
        self._stats.computed += 1
        if decision.revision == revision and decision.reason is not Reason.ROUTER_FAILED:
            self._memory.put(key, decision, self._ttl_s)
            if self._shared is not None:
                await self._tell(self._shared, key, decision)
        return decision, Source.COMPUTED

    async def _ask(
        self, shared: DecisionCache, key: bytes, usable: Callable[[Decision], bool]
    ) -> Decision | None:
        try:
            decision = await shared.get(key)
        except Exception:  # noqa: BLE001 - the cache may be a plugin, whose failure must not fail the request.
            self._stats.failures += 1
            return None
        if decision is not None and not usable(decision):
            self._stats.refused += 1
            return None
        return decision

    async def _tell(self, shared: DecisionCache, key: bytes, decision: Decision) -> None:
        try:
            await shared.set(key, decision, self._ttl_s)
        except Exception:  # noqa: BLE001 - as above.
            self._stats.failures += 1

    def stats(self) -> StoreStats:
        """A snapshot."""
        return replace(self._stats, entries=len(self._memory))

    async def aclose(self) -> None:
        """Write what is still to be shared, and free everything."""
        if self._shared is not None:
            await self._shared.aclose()
        await self._memory.aclose()
