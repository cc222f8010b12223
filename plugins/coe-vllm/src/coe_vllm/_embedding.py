"""An embedding model behind vLLM's pooling runner."""

from __future__ import annotations

import asyncio
from typing import cast

from coe.contracts import Card, Context, EmbeddingExpert, Reply
from coe.errors import ExpertTimeout
from coe.wire import EmbeddingRequest
from coe_vllm._backend import Backend
from coe_vllm._expert import MakeExpert


class VllmEmbedding:
    """Embeds texts by /v1/embeddings.

    Args:
        card: its facts.
        make_expert: makes the expert that asks the server.
        backend: the server, run with `runner: pooling` and a model made for embeddings.
        served_name: the model's name on the server.
    """

    def __init__(self, card: Card, make_expert: MakeExpert, backend: Backend, served_name: str) -> None:
        self._card = card
        self._make_expert = make_expert
        self._backend = backend
        self._served_name = served_name
        self._asked: tuple[str, EmbeddingExpert] | None = None

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

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """Embed, after a start when asleep. Raises `ExpertError`s."""
        if not self.awake:
            try:
                async with asyncio.timeout(max(0.0, context.remaining_s())):
                    await self.start()
            except TimeoutError:
                raise ExpertTimeout(
                    f"`{self._card.name}` was still starting at the deadline.", expert=self._card.name
                ) from None
        return await (await self._expert()).embeddings(request, context)

    async def aclose(self) -> None:
        """Close the connections, and end the server if it is ours."""
        if self._asked is not None:
            await self._asked[1].aclose()
            self._asked = None
        await self._backend.aclose()

    async def _expert(self) -> EmbeddingExpert:
        """Asks the server where it is now: after a restart it has another port."""
        url = self._backend.api.root_url
        if self._asked is None or self._asked[0] != url:
            if self._asked is not None:
                await self._asked[1].aclose()
            made = self._make_expert(f"{url}/v1", self._served_name, self._backend.api_key)
            self._asked = url, cast("EmbeddingExpert", made)
        return self._asked[1]
