"""Asking an expert for one whole answer within the caps, and handing the chosen one to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from coe.contracts import Candidate, Capability, Card, Context, Expert, Reply, RewardExpert
from coe.errors import CoeError, ExpertProtocolError, ExpertRejected
from coe.wire import ChatRequest, Usage, chat_request
from coe_dmoerm._serve import text_of
from coe_dmoerm.strategies._purse import Caps, Purse, call_usd

_SHARED: frozenset[Capability] = frozenset({"chat", "json_schema", "vision"})
"""What a composite can do when all its experts can. Tool calls have no text to be scored."""
_STREAM: frozenset[Capability] = frozenset({"stream"})
_FRAME_BYTES = 64
_ROW_BYTES = 16
_PIECE = 24

T = TypeVar("T")


class StrategySettings(BaseModel):
    """Keys of every strategy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caps: Caps = Field(default_factory=Caps, description="Hard limits of one request.")
    max_tokens: PositiveInt = Field(
        default=1024, description="Longest answer that is asked for, where the request sets no limit."
    )


@dataclass(slots=True)
class Tried:
    """One call.

    Attributes:
        expert: who was asked.
        body: the completion object; None when none came.
        text: of the answer.
        reward: its score.
        usage, cost_usd: what it took, where that is known.
        error: why no answer came; None without a body when nobody waited for it.
    """

    expert: str
    body: dict[str, Any] | None = None
    text: str = ""
    reward: float | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    error: CoeError | None = None

    def candidate(self, chosen: Tried | None) -> Candidate:
        """What the journal keeps of it."""
        nothing = "cancelled" if self.body is None else ""
        tokens = None if self.usage is None else self.usage.prompt_tokens + self.usage.completion_tokens
        return Candidate(
            expert=self.expert,
            reward=self.reward,
            tokens=tokens,
            cost_usd=self.cost_usd,
            chosen=self is chosen,
            error=nothing if self.error is None else self.error.code,
        )


@dataclass(slots=True)
class Round:
    """One request: what it asked, what it may spend, what came of it.

    Attributes:
        request: as the caller sent it.
        context: the caller's.
        purse: what is left.
        max_tokens: longest answer, where the request sets no limit.
        tried: the calls that were made, in order.
    """

    request: ChatRequest
    context: Context
    purse: Purse
    max_tokens: int
    tried: list[Tried] = field(default_factory=list[Tried])

    def may_ask(self, expert: Expert, changes: Mapping[str, Any] | None = None) -> Awaitable[Tried] | None:
        """Reserve a call and return what makes it; None when the caps forbid it.

        What is returned never raises an expert's error: it is in the `Tried`.
        """
        body = self.request.body
        limit = body.max_completion_tokens or body.max_tokens or self.max_tokens
        payload = {
            **{key: value for key, value in self.request.payload.items() if key not in _STREAMING},
            **(changes or {}),
        }
        if body.max_completion_tokens is None and body.max_tokens is None:
            payload["max_tokens"] = limit
        messages: list[Any] = payload["messages"]
        size = len(msgspec.json.encode(messages)) + _FRAME_BYTES + _ROW_BYTES * len(messages)
        held = self.purse.reserve(expert.card, size, limit)
        if held is None:
            return None
        tried = Tried(expert.card.name)
        self.tried.append(tried)

        async def ask() -> Tried:
            try:
                reply = await expert.complete(chat_request(payload), self.context)
                tried.usage, tried.cost_usd = reply.usage, _cost(expert.card, reply)
                tried.body, tried.text = _answer(expert.card.name, reply)
            except CoeError as error:
                tried.error = error
            self.purse.settle(held, tried.usage, tried.cost_usd)
            return tried

        return ask()

    async def score(self, judge: RewardExpert, answers: Sequence[Tried]) -> None:
        """Fill in the rewards of answers. A judge that fails leaves them empty."""
        messages = cast("list[dict[str, Any]]", self.request.payload["messages"])
        chats = [[*messages, {"role": "assistant", "content": each.text}] for each in answers]
        try:
            rewards = await judge.score(chats, self.context)
        except CoeError:
            return
        for each, reward in zip(answers, rewards, strict=True):
            each.reward = float(reward)

    def reply(self, chosen: Tried | None) -> Reply:
        """The chosen answer, streamed when the request wants that, with what all calls took together.

        Raises:
            CoeError: there is no answer: the last call's error.
        """
        if chosen is None or chosen.body is None:
            raise _nothing(self.tried)
        known = [each.usage for each in self.tried if each.usage is not None]
        costs = [each.cost_usd for each in self.tried if each.cost_usd is not None]
        usage = Usage(
            prompt_tokens=sum(each.prompt_tokens for each in known),
            completion_tokens=sum(each.completion_tokens for each in known),
            total_tokens=sum(each.prompt_tokens + each.completion_tokens for each in known),
        )
        body = {**chosen.body, "usage": usage}
        reply = Reply(
            usage=usage,
            cost_usd=sum(costs) if costs else None,
            candidates=tuple(each.candidate(chosen) for each in self.tried),
        )
        if self.request.body.stream:
            options = self.request.body.stream_options
            reply.chunks = _streamed(body, with_usage=bool(options and options.include_usage))
        else:
            reply.body = msgspec.json.encode(body)
        return reply


_STREAMING = ("stream", "stream_options")


async def first_done(tasks: set[asyncio.Task[T]]) -> tuple[list[T], set[asyncio.Task[T]]]:
    """Results of the tasks that are done, at least one, and the tasks that are not."""
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return [task.result() for task in done], pending


async def cancel_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what still runs, and wait until nothing does."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def composite_card(name: str, experts: Sequence[Expert], what: str) -> Card:
    """What a composite of experts can do: what all of them can, at the price of all of them."""
    cards = [expert.card for expert in experts]
    shared: frozenset[Capability] = frozenset(
        each for each in _SHARED if all(each in card.capabilities for card in cards)
    )
    windows = [card.context_window for card in cards if card.context_window is not None]
    local = all(card.locality == "local" for card in cards)
    return Card(
        name=name,
        kind="composite",
        capabilities=shared | _STREAM,
        context_window=min(windows, default=None),
        input_usd_per_mtok=_sum([card.input_usd_per_mtok for card in cards]),
        output_usd_per_mtok=_sum([card.output_usd_per_mtok for card in cards]),
        locality="local" if local else "remote",
        description=f"{what} of {', '.join(dict.fromkeys(card.name for card in cards))}.",
    )


def refuse_what_cannot_be_chosen(name: str, request: ChatRequest) -> None:
    """Refuse a request for several choices. Raises `ExpertRejected`."""
    if (request.body.n or 1) > 1:
        raise ExpertRejected(f"`{name}` gives one answer, not `n`.", status=400, expert=name, param="n")


def _sum(prices: Sequence[float | None]) -> float | None:
    known = [price for price in prices if price is not None]
    return sum(known) if known else None


def _cost(card: Card, reply: Reply) -> float | None:
    if reply.cost_usd is not None:
        return reply.cost_usd
    usage = reply.usage
    return None if usage is None else call_usd(card, usage.prompt_tokens, usage.completion_tokens)


def _answer(name: str, reply: Reply) -> tuple[dict[str, Any], str]:
    try:
        body = cast("dict[str, Any]", msgspec.json.decode(reply.body or b""))
        return body, text_of(body["choices"][0]["message"])
    except (msgspec.DecodeError, KeyError, IndexError, TypeError) as error:
        raise ExpertProtocolError(f"`{name}` gave no chat completion: {error!r}.", expert=name) from error


def _nothing(tried: Sequence[Tried]) -> CoeError:
    errors = [each.error for each in tried if each.error is not None]
    if errors:
        return errors[-1]
    return ExpertRejected("The caps of this expert allow no call for this request.", status=422)


async def _streamed(body: Mapping[str, Any], *, with_usage: bool) -> AsyncGenerator[bytes, None]:
    """A whole completion as server-sent events."""
    shared = {key: body[key] for key in ("id", "created", "model") if key in body}
    shared["object"] = "chat.completion.chunk"
    choice = cast("dict[str, Any]", body["choices"][0])
    text = text_of(choice["message"])

    def event(delta: Mapping[str, Any], finish: Any = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return b"data: " + msgspec.json.encode({**shared, "choices": choices}) + b"\n\n"

    yield event({"role": "assistant", "content": ""})
    for at in range(0, len(text), _PIECE):
        yield event({"content": text[at : at + _PIECE]})
    yield event({}, choice.get("finish_reason") or "stop")
    if with_usage:
        last: dict[str, Any] = {**shared, "choices": [], "usage": body["usage"]}
        yield b"data: " + msgspec.json.encode(last) + b"\n\n"
    yield b"data: [DONE]\n\n"
