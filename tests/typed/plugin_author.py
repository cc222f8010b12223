"""The contracts as an author's type checker sees them. Checked by `make check`, never run.

An ignored error is itself part of the check: an ignore that is not needed is an error here.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from coe.contracts import (
    Build,
    Capability,
    Card,
    Context,
    Decision,
    DecisionCache,
    Embedder,
    Expert,
    Features,
    Plugin,
    PoolView,
    Ranked,
    Reason,
    Reply,
    RewardExpert,
    Router,
    Startable,
)
from coe.errors import ExpertUnavailable
from coe.wire import ChatRequest, Usage, chat_request, last_user_text


class Settings(BaseModel):
    """Settings of every plugin below."""

    word: str = "hi"


# --- what conforms is accepted


class AnExpert:
    """An expert as the guide writes one: no base class."""

    def __init__(self, card: Card) -> None:
        self._card = card

    @property
    def card(self) -> Card:
        """Its facts."""
        return self._card

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer."""
        assert_type(request.body.stream, bool | None)
        assert_type(request.payload, dict[str, Any])
        assert_type(last_user_text(request.body), str)
        assert_type(context.remaining_s(), float)
        if request.body.stream:
            return Reply(chunks=self._stream())
        if context.remaining_s() < 0:
            raise ExpertUnavailable("too late", expert=self._card.name, retry_after_s=1.5)
        return Reply(body=b"{}", usage=Usage(total_tokens=1))

    async def _stream(self) -> AsyncGenerator[bytes, None]:
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        """Nothing."""


class WithAttributes:
    """A plain attribute will do where the contract has a property."""

    card: Card
    awake: bool = True

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer."""
        return Reply(body=b"{}")

    async def start(self) -> None:
        """Be ready."""

    async def aclose(self) -> None:
        """Nothing."""


class AReward:
    """Scores."""

    card: Card

    async def score(
        self, chats: Sequence[Sequence[Mapping[str, Any]]], context: Context
    ) -> NDArray[np.float32]:
        """Zero for all."""
        return np.zeros(len(chats), np.float32)

    async def aclose(self) -> None:
        """Nothing."""


class ARouter:
    """Routes."""

    revision: str = "r"

    def route(self, features: Features, view: PoolView) -> Decision:
        """The first."""
        assert_type(features.text, str)
        assert_type(features.required, frozenset[Capability])
        assert_type(features.sticky_expert, str | None)
        name = next(iter(view.experts))
        assert_type(view.experts[name].card, Card)
        return Decision(expert=name, ranked=(Ranked(name),), reason=Reason.CATEGORY)

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """All."""
        return [self.route(each, view) for each in features]


class AnEmbedder:
    """Embeds."""

    fingerprint: str = "f"
    dim: int = 2

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Zeros."""
        return np.zeros((len(texts), 2), np.float32)


class ACache:
    """Forgets."""

    async def get(self, key: bytes) -> Decision | None:
        """Miss."""

    async def set(self, key: bytes, decision: Decision, ttl_s: float) -> None:
        """Forget."""

    async def aclose(self) -> None:
        """Nothing."""


def conforming(card: Card) -> None:
    """Each class is what its protocol asks for."""
    expert: Expert = AnExpert(card)
    attributes: Expert = WithAttributes()
    startable: Startable = WithAttributes()
    reward: RewardExpert = AReward()
    router: Router = ARouter()
    embedder: Embedder = AnEmbedder()
    cache: DecisionCache = ACache()
    print(expert, attributes, startable, reward, router, embedder, cache)


# --- registration


def create(name: str, settings: Settings, build: Build) -> AnExpert:
    """A factory with its own settings model."""
    assert_type(build.expert("other"), Expert)
    assert_type(build.embedder("static", {"dim": 3}), Embedder)
    return AnExpert(build.card(Card(name=name)))


def entry_point() -> Plugin[Expert]:
    """What an entry point returns: a plugin of the concrete class is one of the protocol."""
    plugin = Plugin(Settings, create, "Says hi")
    assert_type(plugin, Plugin[AnExpert])
    return plugin


def router_entry_point() -> Plugin[Router]:
    """A lambda is enough for a factory."""
    return Plugin(Settings, lambda name, settings, build: ARouter())


# --- what does not conform is refused


class Synchronous:
    """`complete` must be asynchronous."""

    card: Card

    def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer."""
        return Reply(body=b"{}")

    async def aclose(self) -> None:
        """Nothing."""


class NoCard:
    """An expert has a card."""

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """Answer."""
        return Reply(body=b"{}")

    async def aclose(self) -> None:
        """Nothing."""


class DoubleEmbedder:
    """Vectors are float32."""

    fingerprint: str = "f"
    dim: int = 2

    def embed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Zeros."""
        return np.zeros((len(texts), 2))


def refused(card: Card) -> None:
    """Mistakes that the type checker finds before a test does."""
    synchronous: Expert = Synchronous()  # pyright: ignore[reportAssignmentType]
    no_card: Expert = NoCard()  # pyright: ignore[reportAssignmentType]
    doubles: Embedder = DoubleEmbedder()  # pyright: ignore[reportAssignmentType]
    wrong_group: Plugin[Router] = Plugin(Settings, create)  # pyright: ignore[reportAssignmentType]
    card.name = "frozen"  # pyright: ignore[reportAttributeAccessIssue]
    Card("positional")  # pyright: ignore[reportCallIssue]
    Card(name="x", kind="llm")  # pyright: ignore[reportArgumentType]
    Card(name="x", capabilities=frozenset({"sing"}))  # pyright: ignore[reportArgumentType]
    Reply(chunks=[b"data: [DONE]\n\n"])  # pyright: ignore[reportArgumentType]
    ExpertUnavailable("late", status=503)  # pyright: ignore[reportCallIssue]
    print(synchronous, no_card, doubles, wrong_group)


# --- requests


def requests(payload: dict[str, Any]) -> None:
    """A request has a typed view and the payload."""
    request = chat_request(payload)
    assert_type(request, ChatRequest)
    assert_type(request.body.model, str)
    assert_type(request.body.temperature, float | None)
