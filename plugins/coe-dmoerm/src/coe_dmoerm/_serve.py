"""A trained model in service: experts of kind `dmoerm`, behind `/v1/score` and `/v1/rerank`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from coe.contracts import Appraisal, Build, Card, Context, Expert, Plugin, Reply
from coe.errors import ExpertRejected
from coe_dmoerm._items import Item
from coe_dmoerm._saved import Opened, read_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.wire import ChatRequest

Chat = Sequence[Mapping[str, Any]]


class DmoermSettings(BaseModel):
    """Keys of an expert of kind `dmoerm`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path = Field(description="Folder that `coe rewards train` wrote.")
    correct_length: bool = Field(
        default=False, description="Take out what length brings beyond what people gave for it."
    )
    base: Path | None = Field(
        default=None,
        description="Language model of a `lora` model, where it lies elsewhere than in training.",
    )
    task: str | None = Field(
        default=None, description="Score as answers of this task; without it, each is routed to its own."
    )


def create(name: str, settings: DmoermSettings, build: Build) -> DmoermExpert:
    """The plugin's factory. Raises `ArtifactError` when the model is refused."""
    base = None if settings.base is None else build.base_dir / settings.base.expanduser()
    opened = read_model(build.base_dir / settings.model.expanduser(), build.embedder, base)
    card = Card(
        name=name,
        kind="reward",
        capabilities=frozenset({"score"}),
        locality="local",
        description=f"Scores answers to {', '.join(opened.model.heads)}.",
    )
    return DmoermExpert(build.card(card), settings, opened)


class DmoermExpert:
    """Scores chats: their last message is the answer, system messages are the context."""

    def __init__(self, card: Card, settings: DmoermSettings, opened: Opened) -> None:
        self._card = card
        self._settings = settings
        self._opened = opened

    @property
    def card(self) -> Card:
        """Its declared facts."""
        return self._card

    async def score(self, chats: Sequence[Chat], context: Context) -> NDArray[np.float32]:
        """Rewards float32[n], in log odds within a task."""
        return np.array([each.reward for each in await self.appraise(chats, context)], np.float32)

    async def appraise(self, chats: Sequence[Chat], context: Context) -> Sequence[Appraisal]:
        """Rewards with the task that each chat was routed to, and the scores of its capabilities."""
        items = [item_of(chat, self._settings.task) for chat in chats]
        # Milliseconds of numpy for each answer: other requests go on beside it.
        found = await asyncio.to_thread(
            self._opened.model.score,
            items,
            correct_length=self._settings.correct_length,
        )
        return [Appraisal(each.reward, each.task, each.aspects) for each in found]

    async def complete(self, request: ChatRequest, context: Context) -> Reply:
        """It answers no chat. Raises `ExpertRejected`."""
        raise ExpertRejected(f"`{self._card.name}` scores answers; it gives none.", status=400)

    async def aclose(self) -> None:
        """Nothing to free."""


def item_of(chat: Chat, task: str | None = None) -> Item:
    """A chat as an item: the last message is the response, system messages are the context."""
    texts = [(str(message.get("role")), text_of(message)) for message in chat]
    context = "\n".join(text for role, text in texts[:-1] if role in ("system", "developer"))
    prompt = "\n".join(text for role, text in texts[:-1] if role not in ("system", "developer"))
    return Item("", task, prompt, context, texts[-1][1] if texts else "", {})


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message; parts are joined, and what is no text is left out."""
    content: Any = message.get("content")
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        return "".join(
            str(cast("Mapping[str, Any]", part).get("text") or "") for part in parts if isinstance(part, dict)
        )
    return content if isinstance(content, str) else ""


EXPERT: Plugin[Expert] = Plugin(
    DmoermSettings, create, "A reward model that `coe rewards train` made, in two layers"
)
