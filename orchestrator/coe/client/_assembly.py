"""A chat completion put together from the chunks of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec

from coe.errors import ExpertProtocolError

_WHOLE = ("role", "id", "type", "name")
"""Texts that come in one piece; all others grow."""


class _Call(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0)] = 0
    id: str | None = None
    type: str | None = None
    function: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, Any] | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list[_Choice])


class Assembly:
    """Grows with every chunk."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {0: _choice(0)}

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Take a chat.completion.chunk in; returns the text that it adds to the first choice.

        Raises:
            ExpertProtocolError: it is none.
        """
        head = {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        self._head.update(head)
        try:
            return "".join(map(self._grow, msgspec.convert(chunk, _Chunk).choices))
        except msgspec.ValidationError as error:
            raise ExpertProtocolError(f"The stream holds an event that is no chunk: {error}.") from error

    def completion(self) -> dict[str, Any]:
        """The chat.completion object so far."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": choices}

    def _grow(self, choice: _Choice) -> str:
        whole = self._choices.setdefault(choice.index, _choice(choice.index))
        whole["finish_reason"] = choice.finish_reason or whole["finish_reason"]
        delta = dict(choice.delta or {})
        message = whole["message"]
        for call in msgspec.convert(delta.pop("tool_calls", None) or [], list[_Call]):
            _merge_call(message.setdefault("tool_calls", []), call)
        _merge(message, delta)
        text = delta.get("content")
        return text if choice.index == 0 and isinstance(text, str) else ""


def _choice(index: int) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}


def _merge(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Texts grow, objects are merged, anything else is replaced."""
    for key, value in delta.items():
        before = whole.get(key)
        if isinstance(value, str) and isinstance(before, str) and key not in _WHOLE:
            whole[key] = before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            _merge(cast("dict[str, Any]", before), cast("dict[str, Any]", value))
        elif value is not None:
            whole[key] = value


def _merge_call(calls: list[dict[str, Any]], call: _Call) -> None:
    # Calls come in order: an index beyond the next one is a server's slip, not a gap to fill.
    index = min(call.index, len(calls))
    if index == len(calls):
        calls.append({})
    _merge(calls[index], {"id": call.id, "type": call.type, "function": dict(call.function)})
