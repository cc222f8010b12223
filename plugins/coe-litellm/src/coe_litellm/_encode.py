"""From litellm's answers to OpenAI's wire format."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from coe.wire import Usage
from coe_litellm._library import Answer

DONE = b"data: [DONE]\n\n"


def usage_of(dumped: dict[str, Any]) -> Usage | None:
    """The tokens of an answer as plain data, where it holds them."""
    usage = dumped.get("usage")
    return msgspec.convert(usage, Usage) if usage else None


def body_of(answer: Answer) -> tuple[bytes, Usage | None]:
    """A whole answer as the JSON of a chat.completion, and its tokens."""
    dumped = answer.model_dump(exclude_none=True)
    for choice in _choices(dumped):
        choice.setdefault("message", {}).setdefault("content", None)
        _tidy(choice["message"])
    return msgspec.json.encode(dumped), usage_of(dumped)


def chunk_of(answer: Answer) -> dict[str, Any]:
    """One chunk of a streamed answer as plain data; `usage` only where the provider sent it."""
    dumped = answer.model_dump(exclude_none=True)
    for choice in _choices(dumped):
        choice.setdefault("finish_reason", None)
        _tidy(choice.setdefault("delta", {}))
    # litellm adds its own cost; coe reports cost beside the body, for every kind of expert alike.
    dumped.get("usage", {}).pop("cost", None)
    return dumped


def finished(chunk: dict[str, Any]) -> bool:
    """Whether the chunk ends a choice."""
    return any(choice["finish_reason"] for choice in _choices(chunk))


def says_something(chunk: dict[str, Any]) -> bool:
    """Whether the chunk holds more than usage."""
    return any(choice["delta"] or choice["finish_reason"] for choice in _choices(chunk))


def usage_chunk(chunk: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """The last chunk of a stream that was asked for usage: no choices, as in OpenAI's API."""
    return {**chunk, "choices": [], "usage": usage}


def event(chunk: dict[str, Any]) -> bytes:
    """A chunk as a server-sent event."""
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _choices(dumped: dict[str, Any]) -> list[dict[str, Any]]:
    choices = cast("list[dict[str, Any]]", dumped.get("choices") or [])
    for choice in choices:
        _tidy(choice)
    return choices


def _tidy(part: dict[str, Any]) -> None:
    """Leave `provider_specific_fields` out where it says nothing, as for every provider without any."""
    specific: Any = part.get("provider_specific_fields")
    if isinstance(specific, dict):
        fields = cast("dict[str, Any]", specific)
        told = {name: value for name, value in fields.items() if value is not None}
        if told:
            part["provider_specific_fields"] = told
        else:
            del part["provider_specific_fields"]
