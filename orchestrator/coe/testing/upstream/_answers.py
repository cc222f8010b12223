"""OpenAI-shaped answers, as plain functions of the request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec

Answer = str | Callable[[dict[str, Any]], str | dict[str, Any]] | None
"""What to say: a text, a function of the payload to a text or a whole message, or None to echo."""

DONE = b"data: [DONE]\n\n"
CREATED = 1_700_000_000


def last_user_text(payload: dict[str, Any]) -> str:
    """Text of the last user message, or the prompt; parts of other types than text are left out."""
    if "prompt" in payload:
        return str(payload["prompt"])
    for message in reversed(cast("list[Any]", payload.get("messages") or [])):
        if isinstance(message, dict) and cast("dict[str, Any]", message).get("role") == "user":
            return _text(cast("dict[str, Any]", message).get("content"))
    return ""


def message_for(payload: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The assistant's message."""
    said = answer(payload) if callable(answer) else answer
    if said is None:
        said = last_user_text(payload)
    return {"role": "assistant", "content": said} if isinstance(said, str) else said


def completion(payload: dict[str, Any], message: dict[str, Any], number: int) -> bytes:
    """The chat.completion object as JSON; the text_completion of a prompt."""
    said = {"text": message["content"]} if "prompt" in payload else {"message": message}
    return msgspec.json.encode(
        {
            "id": f"chatcmpl-{number}",
            "object": "text_completion" if "prompt" in payload else "chat.completion",
            "created": CREATED,
            "model": payload.get("model"),
            "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": _finish(message)}],
            "usage": _usage(payload, message),
        }
    )


def events(payload: dict[str, Any], message: dict[str, Any], number: int) -> Iterator[bytes]:
    """The same as server-sent events: role, a word at a time, finish, usage if asked for, end."""

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {
            "id": f"chatcmpl-{number}",
            "object": "text_completion" if "prompt" in payload else "chat.completion.chunk",
            "created": CREATED,
            "model": payload.get("model"),
            "choices": choices,
            **more,
        }
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    options: Any = payload.get("stream_options")
    told = isinstance(options, dict) and bool(cast("dict[str, Any]", options).get("include_usage"))
    # As OpenAI has it: when the last event shall tell the usage, all others say that they do not.
    untold: dict[str, Any] = {"usage": None} if told else {}

    def delta(fields: dict[str, Any], finish: str | None = None) -> bytes:
        said = {"text": fields.get("content", "")} if "prompt" in payload else {"delta": fields}
        return event([{"index": 0, **said, "logprobs": None, "finish_reason": finish}], **untold)

    content: Any = message.get("content")
    yield delta({"role": "assistant", "content": ""})
    if isinstance(content, str):
        for word in words(content):
            yield delta({"content": word})
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    if rest:
        yield delta(rest)
    yield delta({}, _finish(message))
    if told:
        yield event([], usage=_usage(payload, message))
    yield DONE


def words(text: str) -> list[str]:
    """The text in pieces that join to it again."""
    return re.findall(r"\s*\S+|\s+$", text)


def error_envelope(message: str, *, type: str, code: str, param: str | None = None) -> bytes:
    """OpenAI's error envelope as JSON."""
    return msgspec.json.encode({"error": {"message": message, "type": type, "param": param, "code": code}})


def model_list(models: tuple[str, ...]) -> bytes:
    """Body of `GET /v1/models`."""
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "fake"} for name in models]
    return msgspec.json.encode({"object": "list", "data": rows})


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
    return "".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")


def _finish(message: dict[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def _usage(payload: dict[str, Any], message: dict[str, Any]) -> dict[str, int]:
    messages = cast("list[dict[str, Any]]", payload.get("messages") or [])
    prompt = sum(len(_text(each.get("content")).split()) for each in messages)
    prompt += len(str(payload.get("prompt", "")).split())
    answer = len(_text(message.get("content")).split())
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
