"""An expert that takes a limited number of requests at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from coe.contracts import (
    Appraisal,
    Appraiser,
    Card,
    Context,
    EmbeddingExpert,
    Expert,
    PromptCompleter,
    Reply,
    RewardExpert,
    Startable,
)
from coe.errors import ExpertBusy
from coe.pool._gate import Gate
from coe.wire import ChatRequest, EmbeddingRequest, PromptRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RETRY_AFTER_S = 1.0
_BEFORE_S = 0.005
"""How long before the deadline a wait ends: the engine's timer would take it for the expert's silence."""


def limited(expert: Expert, gate: Gate) -> Expert:
    """The expert behind the gate. It can be started if the expert can be."""
    if isinstance(expert, Startable):
        return _LimitedStartable(expert, expert, gate)
    return _Limited(expert, gate)


def unlimited(expert: Expert) -> Expert:
    """The expert behind the gate; the expert itself when there is none."""
    return expert.inner if isinstance(expert, _Limited) else expert


class _Limited:
    """Asks the expert once there is a place, and keeps the place to the end of the answer."""

    def __init__(self, expert: Expert, gate: Gate) -> None:
        self.inner = expert
        self._gate = gate

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self.inner.card

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer. Raises `ExpertBusy`, and what the expert raises."""
        await self._enter(context)
        gate, held = self._gate, True
        try:
            reply = await self.inner.complete(request, context)
            if reply.chunks is not None:
                reply.chunks = self._to_the_end(reply.chunks)
                held = False
            return reply
        finally:
            if held:
                gate.leave()

    # What not every expert can do is asked only of those whose card says so.

    async def complete_prompt(self, request: PromptRequest, context: Context) -> Reply:
        """As `complete`."""
        await self._enter(context)
        held = True
        try:
            reply = await cast("PromptCompleter", self.inner).complete_prompt(request, context)
            if reply.chunks is not None:
                reply.chunks = self._to_the_end(reply.chunks)
                held = False
            return reply
        finally:
            if held:
                self._gate.leave()

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """Embed. Raises `ExpertBusy`, and what the expert raises."""
        await self._enter(context)
        try:
            return await cast("EmbeddingExpert", self.inner).embeddings(request, context)
        finally:
            self._gate.leave()

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """Score. Raises `ExpertBusy`, and what the expert raises."""
        await self._enter(context)
        try:
            return await cast("RewardExpert", self.inner).score(chats, context)
        finally:
            self._gate.leave()

    async def appraise(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> Sequence[Appraisal]:
        """Score, with reasons where the expert has some. Raises `ExpertBusy`, and what the expert raises."""
        if not isinstance(self.inner, Appraiser):
            return [Appraisal(float(reward)) for reward in await self.score(chats, context)]
        await self._enter(context)
        try:
            return await self.inner.appraise(chats, context)
        finally:
            self._gate.leave()

    async def aclose(self) -> None:
        """Free what the expert holds."""
        await self.inner.aclose()

    async def _enter(self, context: Context) -> None:
        gate = self._gate
        if not await gate.enter(context.remaining_s() - _BEFORE_S):
            name = self.inner.card.name
            raise ExpertBusy(
                f"`{name}` is busy: {gate.limit} requests at once, {gate.queue} waiting.",
                expert=name,
                retry_after_s=RETRY_AFTER_S,
            )

    async def _to_the_end(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            self._gate.leave()
            await chunks.aclose()


class _LimitedStartable(_Limited):
    def __init__(self, expert: Expert, startable: Startable, gate: Gate) -> None:
        super().__init__(expert, gate)
        self._startable = startable

    @property
    def awake(self) -> bool:
        """Whether it can answer at once."""
        return self._startable.awake

    async def start(self) -> None:
        """Wake it. Raises `ExpertUnavailable` with the reason."""
        await self._startable.start()
