"""Answers as a program reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from coe.contracts import Reason
from coe.engine import CacheOutcome
from coe.errors import ExpertProtocolError
from coe.wire import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Who answered, and why.

    Attributes:
        expert: who answered.
        expert_kind: what kind of expert that is; see `coe.contracts.Card`.
        category: of the prompt; `general` when the classifier did not know.
        confidence: calibrated probability of the most probable category; 1 when nothing was classified.
        reason: why the expert was chosen; None when the server said it in headers only, which lack it.
        cache: whether the decision came from the decision cache.
        route_us: microseconds that the decision took.
        decision_id: names the request in the server's records.
        fallback_from: experts that failed before this one answered.
    """

    expert: str
    expert_kind: str
    category: str
    confidence: float
    cache: CacheOutcome
    route_us: int
    decision_id: str
    reason: Reason | None = None
    fallback_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A chat completion.

    Attributes:
        text: what the expert said; empty when it only calls tools.
        routing: who answered, and why.
        usage: tokens, when the expert reported them.
        finish_reason: `stop`, `length`, `tool_calls` …; None while a stream is under way.
        tool_calls: calls of tools, as OpenAI's API has them.
        raw: the whole chat.completion object; that of a stream is put together from its chunks.
    """

    text: str
    routing: Routing
    usage: Usage | None
    finish_reason: str | None
    tool_calls: tuple[dict[str, Any], ...]
    raw: dict[str, Any]

    @property
    def expert(self) -> str:
        """Name of the expert that answered."""
        return self.routing.expert

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message, to append to a conversation."""
        return self.raw["choices"][0]["message"]


class _Message(msgspec.Struct):
    content: Any = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: Usage | None = None


def routing_of(facts: Mapping[str, Any]) -> Routing:
    """The facts of a `coe` object; numbers may be text, as headers have them.

    Raises:
        ExpertProtocolError: they are not there, so it was no coe server that answered.
    """
    try:
        return msgspec.convert(facts, Routing, strict=False)
    except msgspec.ValidationError as error:
        raise ExpertProtocolError(
            f"The answer does not say how it was routed: {error}.", hint="Is this the URL of a coe server?"
        ) from error


def answer_of(completion: Mapping[str, Any], routing: Routing) -> Answer:
    """Read a chat.completion object. Raises `ExpertProtocolError` when it is none."""
    try:
        told = msgspec.convert(completion, _Completion)
    except msgspec.ValidationError as error:
        raise ExpertProtocolError(
            f"`{routing.expert}` answered no chat completion: {error}.", expert=routing.expert
        ) from error
    if not told.choices:
        raise ExpertProtocolError(f"`{routing.expert}` answered without a choice.", expert=routing.expert)
    choice = told.choices[0]
    content = choice.message.content
    return Answer(
        text=content if isinstance(content, str) else "",
        routing=routing,
        usage=told.usage,
        finish_reason=choice.finish_reason,
        tool_calls=tuple(choice.message.tool_calls or ()),
        raw=dict(completion),
    )
