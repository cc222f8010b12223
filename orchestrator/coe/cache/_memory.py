"""Decisions kept in this process: least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from coe.contracts import Decision


class MemoryCache:
    """A bounded LRU with a time to live. One event loop or thread at a time.

    Args:
        entries: most decisions kept; at least 1.
        clock: monotonic seconds.
    """

    def __init__(self, entries: int, clock: Callable[[], float]) -> None:
        if entries < 1:
            raise ValueError(f"entries must be at least 1, not {entries}")
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[Decision, float]] = OrderedDict()

    def __len__(self) -> int:
        """Decisions held, those past their time included until they are met or pushed out."""
        return len(self._kept)

    def peek(self, key: bytes) -> Decision | None:
        """The decision, now the most recently used, or None. Synchronous: this is the fast path."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[1] <= self._clock():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        """Keep the decision for `ttl_s` seconds as the most recently used."""
        self._kept[key] = (decision, self._clock() + ttl_s)
        self._kept.move_to_end(key)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    async def get(self, key: bytes) -> Decision | None:
        """`peek`, as the contract of a cache has it."""
        return self.peek(key)

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        """`put`, as the contract of a cache has it."""
        self.put(key, decision, ttl_s)

    async def aclose(self) -> None:
        """Forget everything."""
        self._kept.clear()
