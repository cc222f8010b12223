"""An embedding model behind vLLM's pooling runner."""

from __future__ import annotations

from typing import cast

from coe.contracts import Card, Context, EmbeddingExpert, Reply
from coe.wire import EmbeddingRequest
from coe_vllm._backend import Backend
from coe_vllm._expert import MakeExpert
from coe_vllm._pooling import Pooling


class VllmEmbedding(Pooling):
    """Embeds texts by /v1/embeddings.

    Args:
        card: its facts.
        make_expert: makes the expert that asks the server.
        backend: the server, run with a model made for embeddings, or with `convert: embed`.
        served_name: the model's name on the server.
    """

    def __init__(self, card: Card, make_expert: MakeExpert, backend: Backend, served_name: str) -> None:
        super().__init__(card, backend, served_name)
        self._make_expert = make_expert
        self._asked: tuple[str, EmbeddingExpert] | None = None

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """Embed, after a start when asleep. Raises `ExpertError`s."""
        async with self._running(context):
            return await (await self._expert()).embeddings(request, context)

    async def aclose(self) -> None:
        """Close the connections, and end the server if it is ours."""
        if self._asked is not None:
            await self._asked[1].aclose()
            self._asked = None
        await super().aclose()

    async def _expert(self) -> EmbeddingExpert:
        """Asks the server where it is now: after a restart it has another port."""
        url = self._backend.api.root_url
        if self._asked is None or self._asked[0] != url:
            if self._asked is not None:
                await self._asked[1].aclose()
            made = self._make_expert(f"{url}/v1", self._served_name, self._backend.api_key)
            self._asked = url, cast("EmbeddingExpert", made)
        return self._asked[1]
