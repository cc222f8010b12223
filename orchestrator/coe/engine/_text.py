"""A chat's answer as the answer to a bare prompt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from coe.contracts import Reply
from coe.errors import ExpertProtocolError
from coe.events import MAX_EVENT_BYTES, first_end


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    """A choice of a completion (`message`) or of a chunk (`delta`)."""

    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: Any = ""
    created: Any = 0
    model: Any = ""
    usage: Any = None


_decode = msgspec.json.Decoder(_Answer).decode


def as_text_completion(reply: Reply, expert: str) -> Reply:
    """The same reply, with a text_completion in place of a chat.completion.

    Raises:
        ExpertProtocolError: the body is no chat.completion; for a stream, while it is read.
    """
    if reply.body is not None:
        reply.body = _text(reply.body, expert)
    if reply.chunks is not None:
        reply.chunks = _texts(reply.chunks, expert)
    return reply


async def _texts(chunks: AsyncGenerator[bytes, None], expert: str) -> AsyncGenerator[bytes, None]:
    """Event by event. What is no chunk of a chat, such as an error or `[DONE]`, passes as it is."""
    rest = b""
    try:
        async for piece in chunks:
            rest += piece
            said = b""
            while (end := first_end(rest)) >= 0:
                event, rest = rest[:end], rest[end:]
                said += _event(event, expert)
            if said:
                yield said
            if len(rest) > MAX_EVENT_BYTES:
                raise ExpertProtocolError(f"`{expert}` sent an event without an end.", expert=expert)
        if rest:
            yield rest
    finally:
        await chunks.aclose()


def _event(event: bytes, expert: str) -> bytes:
    data = event.partition(b"data:")[2].strip()
    if not data.startswith(b"{") or data.startswith(b'{"error"'):
        return event
    return b"data: " + _text(data, expert) + b"\n\n"


def _text(chat: bytes, expert: str) -> bytes:
    try:
        answer = _decode(chat)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExpertProtocolError(f"`{expert}` answered no chat completion.", expert=expert) from error
    completion: dict[str, Any] = {
        "id": answer.id,
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [_choice(choice) for choice in answer.choices],
    }
    if answer.usage is not None:
        completion["usage"] = answer.usage
    return msgspec.json.encode(completion)


def _choice(choice: _Choice) -> Mapping[str, Any]:
    said = choice.message or choice.delta
    return {
        "index": choice.index,
        "text": (said.content if said is not None else None) or "",
        "logprobs": None,
        "finish_reason": choice.finish_reason,
    }
