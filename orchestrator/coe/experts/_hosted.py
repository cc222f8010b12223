"""The stand-in of an expert that another process of the same gateway runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from pydantic import SecretStr

from coe.contracts import Card, Context, Expert, Reply, SparseLayer
from coe.errors import ExpertUnavailable
from coe.experts._http import Broken, HttpClient
from coe.experts._openai import OpenAIExpert, OpenAISettings
from coe.wire import ChatRequest, EmbeddingRequest, PromptRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger("coe.workers")

T = TypeVar("T")

_LOOK_S = 5.0
_MAX_STATE_BYTES = 16 * 1024 * 1024
_PATIENCE_S = 3600.0  # only the request's deadline counts, and the host's own limits


class Hosted(msgspec.Struct):
    """How an expert of the host is: its card once it runs, and the rest as of the contracts."""

    card: Card
    awake: bool
    load: int = 0
    sparse_layers: tuple[SparseLayer, ...] = ()


_hosted = msgspec.json.Decoder(dict[str, Hosted])


class Host:
    """Where the host listens, and how its experts were when it was last asked.

    Args:
        base_url: without a path.
        key: opens it.
        poll_s: between two questions.
    """

    def __init__(self, base_url: str, key: str, poll_s: float = 1.0) -> None:
        self.base_url = base_url
        self.key = key
        self.experts: dict[str, Hosted] = {}
        self._poll_s = poll_s

    async def follow(self) -> None:
        """Ask again and again."""
        client = HttpClient(self.base_url, headers={"Authorization": f"Bearer {self.key}"})
        try:
            while True:
                try:
                    self.experts = await _state(client)
                except (Broken, OSError, msgspec.DecodeError) as error:
                    if self.experts:
                        _log.warning("the host does not say how its experts are: %s", error)
                    self.experts = {}
                await asyncio.sleep(self._poll_s)
        finally:
            await client.aclose()


async def _state(client: HttpClient) -> dict[str, Hosted]:
    response = await client.post("/state", b"{}", timeout_s=_LOOK_S)
    return _hosted.decode(await response.read(_MAX_STATE_BYTES, _LOOK_S, _LOOK_S))


class HostedExpert:
    """Asks the host. While the host says nothing, it takes itself for awake until it is refused.

    Args:
        original: what the plugin made; never started here, it lends its card until the host says another.
        host: where it runs.
    """

    def __init__(self, original: Expert, host: Host) -> None:
        self.inner = original
        self._host = host
        self._answers = False
        self._card = original.card
        self._remote = OpenAIExpert(
            self._card,
            OpenAISettings(
                base_url=f"{host.base_url}/v1",
                model=self._card.name,
                api_key=SecretStr(host.key),
                first_byte_timeout_s=_PATIENCE_S,
                idle_timeout_s=_PATIENCE_S,
            ),
        )
        self._client = HttpClient(host.base_url, headers={"Authorization": f"Bearer {host.key}"})

    @property
    def card(self) -> Card:
        """Its facts, as the host knows them."""
        known = self._host.experts.get(self._card.name)
        return self._card if known is None else known.card

    @property
    def awake(self) -> bool:
        """Whether it answers at once, as the host has it."""
        known = self._host.experts.get(self._card.name)
        return self._answers if known is None else known.awake

    @property
    def load(self) -> int:
        """How busy its server is, as the host has it."""
        known = self._host.experts.get(self._card.name)
        return 0 if known is None else known.load

    @property
    def sparse_layers(self) -> tuple[SparseLayer, ...]:
        """What the sparse layers of its model did, as the host has it."""
        known = self._host.experts.get(self._card.name)
        return () if known is None else known.sparse_layers

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
        self._note(awake=True)

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
            self._note(awake=False)
            raise
        self._note(awake=True)
        return answered

    def _note(self, *, awake: bool) -> None:
        """What was just seen of it counts until the host says more."""
        self._answers = awake
        if (known := self._host.experts.get(self._card.name)) is not None:
            known.awake = awake

    async def aclose(self) -> None:
        """Close the connections to the host; what it runs goes on."""
        await self._remote.aclose()
        await self._client.aclose()
        await self.inner.aclose()
