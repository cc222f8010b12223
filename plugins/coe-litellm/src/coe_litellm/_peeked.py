"""A stream whose first piece is known already."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any


class Peeked(AsyncGenerator[bytes, None]):
    """A generator that was asked for its first piece, to learn whether it fails, and hands it out again.

    A generator function around it would not do: closed before its first piece is taken, it would never enter
    its body, and the stream below would stay open.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    @classmethod
    async def of(cls, pieces: AsyncGenerator[bytes, None]) -> Peeked:
        """Take the first piece; whatever the generator raises before it is raised here."""
        return cls(await anext(pieces), pieces)

    async def asend(self, value: None) -> bytes:
        """The next piece."""
        first, self._first = self._first, None
        return first if first is not None else await self._rest.asend(value)

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> bytes:
        """Raise in the stream below."""
        self._first = None
        return await self._rest.athrow(typ if val is None else val)

    async def aclose(self) -> None:
        """Close the stream below."""
        self._first = None
        await self._rest.aclose()
