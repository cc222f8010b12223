"""The stand-in of an expert that another process of the same gateway runs."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from pydantic import SecretStr

from coe.contracts import Card, Context, Expert, Reply
from coe.errors import ExpertUnavailable
from coe.experts._http import Broken, HttpClient
from coe.experts._openai import OpenAIExpert, OpenAISettings
from coe.wire import ChatRequest, EmbeddingRequest, PromptRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_PATIENCE_S = 3600.0  # only the request's deadline counts, and the host's own limits


class HostedExpert:
    """Asks the host. It takes itself for awake as long as the host's last word was no refusal.

    Args:
        original: what the plugin made; never started here, it only lends its card.
        base_url: where the host listens, without a path.
        key: opens the host.
    """

    def __init__(self, original: Expert, base_url: str, key: str) -> None:
        self.inner = original
        self._card = original.card
        self._remote = OpenAIExpert(
            self._card,
            OpenAISettings(
                base_url=f"{base_url}/v1",
                model=self._card.name,
                api_key=SecretStr(key),
                first_byte_timeout_s=_PATIENCE_S,
                idle_timeout_s=_PATIENCE_S,
            ),
        )
        self._client = HttpClient(base_url, headers={"Authorization": f"Bearer {key}"})
        self.awake = False

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def start(self) -> None:
        """Have the host wake it. Raises `ExpertUnavailable`."""
        body = msgspec.json.encode({"expert": self._card.name})
        try:
            response = await self._client.post("/start", body, timeout_s=_PATIENCE_S)
            response.close()
        except (Broken, OSError) as error:
            raise ExpertUnavailable(
                f"`{self._card.name}` cannot be started: {error}.", expert=self._card.name
            ) from error
        if response.status != 200:
            raise ExpertUnavailable(
                f"`{self._card.name}` could not be started: see the log.", expert=self._card.name
            )
        self.awake = True

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Ask the host. Raises `ExpertError`s."""
        return await self._told(self._remote.complete(request, context))

    async def complete_prompt(self, request: PromptRequest, context: Context) -> Reply:
        """Ask the host. Raises `ExpertError`s."""
        return await self._told(self._remote.complete_prompt(request, context))

    async def embeddings(self, request: EmbeddingRequest, context: Context) -> Reply:
        """Ask the host. Raises `ExpertError`s."""
        return await self._told(self._remote.embeddings(request, context))

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """Ask the host, which takes whole chats. Raises `ExpertError`s."""
        return await self._told(self._remote.scored({"chats": chats}, len(chats), context))

    async def _told(self, answer: Awaitable[T]) -> T:
        """What the host answers; it is as awake as that says."""
        try:
            answered = await answer
        except ExpertUnavailable:
            self.awake = False
            raise
        self.awake = True
        return answered

    async def aclose(self) -> None:
        """Close the connections to the host; what it runs goes on."""
        await self._remote.aclose()
        await self._client.aclose()
        await self.inner.aclose()
