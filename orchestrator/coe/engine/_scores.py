"""Answers to be scored, and documents to be ranked, by an expert that scores chats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from coe.contracts import Appraisal, Appraiser, Card, Context, Expert, Features, Reply, RewardExpert
from coe.errors import ExpertProtocolError, InvalidRequest
from coe.wire import ChatBody, ChatRequest, RerankBody, ScoreBody, Usage, parse_body

_BYTES_PER_TOKEN = 4

Chat = Sequence[Mapping[str, Any]]


class ScoreWork:
    """Chats to be scored.

    Args:
        model: whom the caller asks.
        chats: each ends with the answer to be scored.
    """

    by_content = False

    def __init__(self, model: str, chats: Sequence[Chat]) -> None:
        self.request = ChatRequest(ChatBody(model=model), {"model": model})
        self._chats = chats
        self._tokens = [_tokens(chat) for chat in chats]

    def adapted(self, features: Features, cards: Sequence[Card]) -> Features:
        """Whoever scores; each chat must fit its context window."""
        return Features(text="", required=frozenset({"score"}), tokens=max(self._tokens))

    def reckoned(self, features: Features) -> Features:
        """All chats together."""
        return dataclasses.replace(features, tokens=sum(self._tokens))

    def with_usage(self, request: ChatRequest) -> ScoreWork:
        """It is never streamed."""
        return self

    async def ask(self, expert: Expert, context: Context) -> Reply:
        """The scores as JSON."""
        data = [
            {"index": index, "object": "score", "score": each.reward, **_reasons(each)}
            for index, each in enumerate(await self._appraised(expert, context))
        ]
        return self._reply({"object": "list", "data": data}, "score", expert, context)

    async def _appraised(self, expert: Expert, context: Context) -> list[Appraisal]:
        if isinstance(expert, Appraiser):
            found = list(await expert.appraise(self._chats, context))
        else:
            scores = await cast("RewardExpert", expert).score(self._chats, context)
            found = [Appraisal(float(score)) for score in scores]
        if len(found) != len(self._chats) or not all(math.isfinite(each.reward) for each in found):
            name = expert.card.name
            raise ExpertProtocolError(
                f"`{name}` answered {len(found)} scores for {len(self._chats)} chats, or such that are no "
                "numbers.",
                expert=name,
            )
        return found

    def _reply(self, answer: dict[str, Any], kind: str, expert: Expert, context: Context) -> Reply:
        # Reward experts report no tokens.
        tokens = sum(self._tokens)
        usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
        body = {
            "id": f"{kind}-{context.request_id}",
            "created": 0,
            "model": expert.card.name,
            **answer,
            "usage": usage,
        }
        return Reply(body=msgspec.json.encode(body), usage=usage, estimated=True)


class RerankWork(ScoreWork):
    """Documents to be ranked by how well they answer a query."""

    def __init__(self, body: RerankBody) -> None:
        texts = [_document(each, index) for index, each in enumerate(body.documents)]
        super().__init__(body.model, [_answered(body.query, text) for text in texts])
        self._body = body

    async def ask(self, expert: Expert, context: Context) -> Reply:
        """The best ones first."""
        found = await self._appraised(expert, context)
        best = sorted(range(len(found)), key=lambda index: -found[index].reward)
        results: list[dict[str, Any]] = []
        for index in best if self._body.top_n is None else best[: self._body.top_n]:
            each = found[index]
            results.append({"index": index, "relevance_score": each.reward, **_reasons(each)})
            if self._body.return_documents is not False:
                given = self._body.documents[index]
                results[-1]["document"] = {"text": given} if isinstance(given, str) else given
        return self._reply({"results": results}, "rerank", expert, context)


def parse_score(raw: bytes, extra_fields: frozenset[str] = frozenset()) -> ScoreWork:
    """The body of `POST /v1/score`. Raises `InvalidRequest`."""
    body, payload = parse_body(raw, ScoreBody, extra_fields)
    if body.chats is not None:
        if not body.chats or not all(body.chats):
            raise InvalidRequest("`chats` must hold chats of at least one message.", param="chats")
        return ScoreWork(body.model, payload["chats"])
    first = body.text_1 if body.text_1 is not None else body.queries
    second = body.text_2 if body.text_2 is not None else body.documents
    if not first or not second:
        raise InvalidRequest(
            "`text_1` and `text_2` must hold texts.",
            param="text_2" if first else "text_1",
            hint="Or give whole `chats`.",
        )
    return ScoreWork(body.model, [_answered(*pair) for pair in _pairs(first, second)])


def parse_rerank(raw: bytes, extra_fields: frozenset[str] = frozenset()) -> RerankWork:
    """The body of `POST /v1/rerank`. Raises `InvalidRequest`."""
    body, _ = parse_body(raw, RerankBody, extra_fields)
    if not body.documents:
        raise InvalidRequest("`documents` must hold at least one document.", param="documents")
    if body.top_n is not None and body.top_n < 1:
        raise InvalidRequest("`top_n` must be at least 1.", param="top_n")
    return RerankWork(body)


def _pairs(first: str | list[str], second: str | list[str]) -> list[tuple[str, str]]:
    """One against many, or one to one, as vLLM pairs them."""
    seconds = [second] if isinstance(second, str) else second
    firsts = [first] if isinstance(first, str) else first
    if len(firsts) == 1:
        firsts = firsts * len(seconds)
    if len(firsts) != len(seconds):
        raise InvalidRequest(
            f"`text_1` holds {len(firsts)} texts and `text_2` {len(seconds)}: give one, or as many.",
            param="text_1",
        )
    return list(zip(firsts, seconds, strict=True))


def _answered(question: str, answer: str) -> Chat:
    return ({"role": "user", "content": question}, {"role": "assistant", "content": answer})


def _document(document: str | dict[str, Any], index: int) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise InvalidRequest(f"`documents[{index}]` has no `text`.", param=f"documents[{index}]")
    return text


def _reasons(appraisal: Appraisal) -> dict[str, Any]:
    """Task and aspects, from an expert that gives them."""
    task = {} if appraisal.task is None else {"task": appraisal.task}
    return {**task, "aspects": dict(appraisal.aspects)} if appraisal.aspects else task


def _tokens(chat: Chat) -> int:
    """Estimated from the text of its messages."""
    return sum(len(str(message.get("content")).encode("utf-8", "surrogatepass")) for message in chat) // (
        _BYTES_PER_TOKEN
    )
