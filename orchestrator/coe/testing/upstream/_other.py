"""Answers of the endpoints that do not chat: small rules, so that answers which were mixed up show."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from coe.testing.upstream._answers import CREATED


def embeddings(payload: dict[str, Any]) -> bytes:
    """A list of embeddings: of each text its length and its number of words."""
    given: Any = payload.get("input")
    texts = cast("list[Any]", given if isinstance(given, list) else [given])
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(str(text))), float(_words(text))]}
        for index, text in enumerate(texts)
    ]
    tokens = sum(map(_words, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode(
        {"object": "list", "data": data, "model": payload.get("model"), "usage": usage}
    )


def scores(payload: dict[str, Any]) -> bytes:
    """vLLM's list of scores: the part of the question's words that are in the answer."""
    pairs = zip(_texts(payload.get("text_1")), _texts(payload.get("text_2")), strict=True)
    data = [{"index": index, "object": "score", "score": _overlap(*pair)} for index, pair in enumerate(pairs)]
    body = {"id": "score-1", "object": "list", "created": CREATED, "model": payload.get("model")}
    return msgspec.json.encode({**body, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def _texts(given: Any) -> list[str]:
    return cast("list[str]", given) if isinstance(given, list) else [str(given)]


def _overlap(question: str, answer: str) -> float:
    asked = set(question.lower().split())
    return len(asked & set(answer.lower().split())) / max(len(asked), 1)


def _words(text: Any) -> int:
    return len(str(text).split())
