"""What reward and embedding models share: a server that is started before it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from coe.contracts import Card, Context
from coe.errors import ExpertTimeout
from coe_vllm._backend import Backend


class Pooling:
    """A model behind vLLM's pooling runner.

    Args:
        card: its facts.
        backend: the server, run with `runner: pooling`.
        served_name: the model's name on the server.
    """

    def __init__(self, card: Card, backend: Backend, served_name: str) -> None:
        self._card = card
        self._backend = backend
        self._served_name = served_name

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    @property
    def awake(self) -> bool:
        """Whether the server answers at once."""
        return self._backend.status.state == "ready"

    async def start(self) -> None:
        """Have the server answer. Raises `ExpertUnavailable` with the reason."""
        await self._backend.start()

    async def aclose(self) -> None:
        """Close the connections, and end the server if it is ours."""
        await self._backend.aclose()

    @asynccontextmanager
    async def _running(self, context: Context) -> AsyncGenerator[None, None]:
        """Within it the server runs. Raises `ExpertTimeout` at the deadline."""
        name = self._card.name
        try:
            async with asyncio.timeout(max(0.0, context.remaining_s())):
                if not self.awake:
                    await self.start()
                yield
        except TimeoutError:
            status = self._backend.status
            doing = f"was still starting at the deadline: {status.what}" if status.state == "starting" else ""
            raise ExpertTimeout(f"`{name}` {doing or 'did not answer in time'}.", expert=name) from None
