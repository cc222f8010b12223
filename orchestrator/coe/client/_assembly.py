"""A chat completion put together from the chunks of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from coe.errors import ExpertProtocolError


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
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
        try:
            choices = msgspec.convert(chunk, _Chunk).choices
        except msgspec.ValidationError as error:
            raise ExpertProtocolError(
                f"The stream holds an event that is no completion chunk: {error}."
            ) from error
        self._head.update(
            {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        )
        text = ""
        for each in choices:
            whole = self._choices.setdefault(each.index, _choice(each.index))
            whole["finish_reason"] = each.finish_reason or whole["finish_reason"]
            _merge(whole["message"], each.delta)
            if each.index == 0 and isinstance(added := each.delta.get("content"), str):
                text += added
        return text

    def completion(self) -> dict[str, Any]:
        """The chat.completion object so far."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": choices}


def _choice(index: int) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}


def _merge(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Texts grow, calls of tools are merged one by one, anything else is replaced."""
    for key, value in delta.items():
        if key == "tool_calls" and isinstance(value, list):
            _merge_calls(whole.setdefault(key, []), cast("list[Any]", value))
        elif key not in ("role", "id", "type", "name") and isinstance(value, str):
            whole[key] = (whole.get(key) or "") + value
        elif isinstance(value, dict):
            inner: dict[str, Any] = whole.setdefault(key, {})
            _merge(inner, cast("dict[str, Any]", value))
        elif value is not None:
            whole[key] = value


def _merge_calls(calls: list[dict[str, Any]], deltas: list[Any]) -> None:
    for delta in deltas:
        index = delta.get("index", 0)
        while len(calls) <= index:
            calls.append({})
        _merge(calls[index], {key: value for key, value in delta.items() if key != "index"})
