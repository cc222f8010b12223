"""What a tenant's limits have to say while its request is served."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from coe.contracts import Card, Excluded, Features, PoolView, Reply
from coe.errors import CoeError, ExpertError
from coe.wire import ChatBody


class Guard(Protocol):
    """The limits on one request. `coe.tenants` has the real one; without a guard nothing is limited."""

    async def enter(self, body: ChatBody, features: Features) -> None:
        """The request comes. Raises `CoeError` when it is not let in."""
        ...

    def narrow(self, view: PoolView) -> tuple[PoolView, tuple[Excluded, ...]]:
        """Part of the hard filter: the experts that may be asked, and the others, each with a reason.

        Raises `CoeError` when nobody may, for a reason that is worth an error of its own.
        """
        ...

    def wants_usage(self, body: ChatBody) -> bool:
        """Whether the answer must say what it used though the caller does not ask.

        Experts are asked for it then, and `answered` takes it out of the stream again.
        """
        ...

    async def admit(self, card: Card) -> CoeError | None:
        """An expert is about to be asked, the chosen one or one to fall back on. Returns why it may not be.

        Raises `CoeError` when no other shall be asked instead.
        """
        ...

    def failed(self, error: ExpertError) -> None:
        """The expert that was admitted failed before its first byte."""
        ...

    def answered(
        self, card: Card, reply: Reply, chunks: AsyncGenerator[bytes, None] | None
    ) -> AsyncGenerator[bytes, None] | None:
        """The expert that was admitted answers. Returns the stream to pass on, if there is one."""
        ...
