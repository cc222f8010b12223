"""What may be asked of experts besides chats: to continue a prompt, to embed, to score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, cast

from coe.contracts import Capability, Card, Context, EmbeddingExpert, Expert, Features, PromptCompleter, Reply
from coe.engine._text import as_text_completion
from coe.errors import InvalidRequest
from coe.wire import (
    ChatBody,
    ChatRequest,
    EmbeddingBody,
    EmbeddingRequest,
    PromptBody,
    PromptRequest,
    chat_request,
    parse_body,
)

_BYTES_PER_TOKEN = 4
_NATIVE = ("suffix", "echo", "logprobs", "best_of")
"""Fields of a completion that a chat has no words for."""


class Work(Protocol):
    """One request that is no chat.

    Attributes:
        request: the chat that stands for it where a chat is wanted: its model, its limits.
        by_content: whether a router may choose by what it says. Vectors and scores of different experts
            cannot be compared, so for those the caller chooses.
    """

    request: ChatRequest
    by_content: bool

    def adapted(self, features: Features, cards: Sequence[Card]) -> Features:
        """Its own features, from those of the chat that stands for it.

        `cards` are those of the experts that may be asked.
        """
        ...

    def reckoned(self, features: Features) -> Features:
        """The features with all tokens that it will be charged for."""
        ...

    def with_usage(self, request: ChatRequest) -> Work:
        """The same as a stream that ends with its usage; `request` is the chat that asks for it."""
        ...

    async def ask(self, expert: Expert, context: Context) -> Reply:
        """Have the expert do it. Raises `ExpertError`s."""
        ...


class PromptWork:
    """A prompt to continue: by the expert's own completions, else as a chat of one user turn.

    Args:
        prompt: the request as it came.
        request: the chat that stands for it.
        native: whether only an expert with completions of its own can do it.
    """

    by_content = True

    def __init__(self, prompt: PromptRequest, request: ChatRequest, *, native: bool) -> None:
        self.request = request
        self._prompt = prompt
        self._native = native

    def adapted(self, features: Features, cards: Sequence[Card]) -> Features:
        """Who chats can do it, but for what only completions can say; base models where nobody chats."""
        prompt = self._prompt.body.prompt
        tokens = features.tokens
        if not isinstance(prompt, str):
            tokens += _tokens(prompt) - _bytes(features.text) // _BYTES_PER_TOKEN
        if not self._native and any("chat" in card.capabilities for card in cards):
            return features
        needed: set[Capability] = {each for each in features.required if each != "chat"}
        return dataclasses.replace(features, required=frozenset({*needed, "complete"}), tokens=tokens)

    def reckoned(self, features: Features) -> Features:
        """Nothing more."""
        return features

    def with_usage(self, request: ChatRequest) -> PromptWork:
        """The same, asking for the usage."""
        options = request.payload["stream_options"]
        payload = {**self._prompt.payload, "stream_options": options}
        return PromptWork(PromptRequest(self._prompt.body, payload), request, native=self._native)

    async def ask(self, expert: Expert, context: Context) -> Reply:
        """As a text_completion, whichever way."""
        if "complete" in expert.card.capabilities:
            return await cast("PromptCompleter", expert).complete_prompt(self._prompt, context)
        return as_text_completion(await expert.complete(self.request, context), expert.card.name)


class EmbeddingWork:
    """Texts to embed."""

    by_content = False

    def __init__(self, embedding: EmbeddingRequest) -> None:
        self.request = _stand_in(embedding.body.model)
        self._embedding = embedding

    def adapted(self, features: Features, cards: Sequence[Card]) -> Features:
        """Whoever embeds; each text must fit its context window."""
        inputs = self._embedding.body.input
        longest = _tokens(inputs) if _is_one(inputs) else max(map(_tokens, cast("list[Any]", inputs)))
        return Features(text="", required=frozenset({"embed"}), tokens=longest)

    def reckoned(self, features: Features) -> Features:
        """All texts together."""
        return dataclasses.replace(features, tokens=_tokens(self._embedding.body.input))

    def with_usage(self, request: ChatRequest) -> EmbeddingWork:
        """It is never streamed."""
        return self

    async def ask(self, expert: Expert, context: Context) -> Reply:
        """The expert's own JSON."""
        return await cast("EmbeddingExpert", expert).embeddings(self._embedding, context)


def parse_prompt(raw: bytes, extra_fields: frozenset[str] = frozenset()) -> PromptWork:
    """The body of `POST /v1/completions`. Raises `InvalidRequest`."""
    body, payload = parse_body(raw, PromptBody, extra_fields)
    prompt = _only_text(body.prompt)
    native = prompt is None or any(payload.get(field) not in (None, False) for field in _NATIVE)
    if body.prompt in ("", []):
        raise InvalidRequest("`prompt` must not be empty.", param="prompt")
    text = prompt if prompt is not None else _all_text(body.prompt)
    rest = {key: value for key, value in payload.items() if key not in ("prompt", *_NATIVE)}
    chat = {**rest, "messages": [{"role": "user", "content": text}]}
    return PromptWork(PromptRequest(body, payload), chat_request(chat, extra_fields), native=native)


def parse_embedding(raw: bytes, extra_fields: frozenset[str] = frozenset()) -> EmbeddingWork:
    """The body of `POST /v1/embeddings`. Raises `InvalidRequest`."""
    body, payload = parse_body(raw, EmbeddingBody, extra_fields)
    if not body.input:
        raise InvalidRequest("`input` must hold at least one text.", param="input")
    return EmbeddingWork(EmbeddingRequest(body, payload))


def _stand_in(model: str) -> ChatRequest:
    """A chat of no words, for what is asked of a request's model and limits."""
    return ChatRequest(ChatBody(model=model), {"model": model})


def _only_text(prompt: str | list[Any]) -> str | None:
    """The one text that a prompt is, if it is one."""
    if isinstance(prompt, list):
        return prompt[0] if len(prompt) == 1 and isinstance(prompt[0], str) else None
    return prompt


def _all_text(prompt: str | list[Any]) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(each for each in prompt if isinstance(each, str))


def _is_one(inputs: str | list[Any]) -> bool:
    """Whether it is one text, or the tokens of one."""
    return isinstance(inputs, str) or isinstance(inputs[0], int)


def _tokens(inputs: int | str | list[Any]) -> int:
    """Estimated tokens of texts; lists of tokens are counted."""
    if isinstance(inputs, str):
        return _bytes(inputs) // _BYTES_PER_TOKEN
    return 1 if isinstance(inputs, int) else sum(map(_tokens, inputs))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
