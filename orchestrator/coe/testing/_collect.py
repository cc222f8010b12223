"""Read a whole reply, streamed or not, into something that a test can look at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from coe.contracts import Reply

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True, slots=True)
class Collected:
    """What a reply held.

    Attributes:
        text: the answer's content, of the first choice; deltas joined.
        objects: the chat.completion object, or the chunk objects in order.
        pieces: the bytes as they came; one when not streamed.
        done: whether a stream ended with `[DONE]`; False when not streamed.
    """

    text: str
    objects: list[dict[str, Any]]
    pieces: list[bytes]
    done: bool


async def collect(reply: Reply) -> Collected:
    """Read the reply to its end.

    Raises:
        ValueError: neither body nor chunks, both, an event that is not JSON, or bytes after `[DONE]`.
        ExpertError: the stream failed.
    """
    if (reply.body is None) == (reply.chunks is None):
        raise ValueError("A reply holds either `body` or `chunks`.")
    if reply.chunks is None:
        body = cast("bytes", reply.body)
        completion = _object(body)
        return Collected(_content(completion, "message"), [completion], [body], done=False)
    pieces = [piece async for piece in reply.chunks]
    data = events(b"".join(pieces))
    done = data[-1:] == [b"[DONE]"]
    objects = [_object(event) for event in (data[:-1] if done else data)]
    return Collected("".join(_content(each, "delta") for each in objects), objects, pieces, done)


def events(stream: bytes) -> list[bytes]:
    """The data of every server-sent event, comments left out.

    Raises:
        ValueError: the stream ends within an event.
    """
    *whole, rest = _EVENT_END.split(stream)
    if rest.strip():
        raise ValueError(f"The stream ends within an event: {rest[:80]!r}")
    return [data for event in whole if (data := _data(event))]


def _data(event: bytes) -> bytes:
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)


def _object(data: bytes) -> dict[str, Any]:
    try:
        parsed: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"Not JSON: {data[:80]!r} ({error})") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"Not a JSON object: {data[:80]!r}")
    return cast("dict[str, Any]", parsed)


def _content(completion: dict[str, Any], key: str) -> str:
    choices: list[dict[str, Any]] = completion.get("choices") or []
    message: dict[str, Any] = choices[0].get(key) or {} if choices else {}
    return message.get("content") or ""
