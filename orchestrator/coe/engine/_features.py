"""From a request to what routing may look at."""

from __future__ import annotations

from itertools import compress, product

from coe.contracts import Capability, Features, ToolFact
from coe.wire import ChatBody, last_user_text

IMAGE_TOKENS = 1000
"""What one image is reckoned as; providers charge from 85 to about 1,600."""
_BYTES_PER_TOKEN = 4


def extract_features(body: ChatBody, sticky_expert: str | None = None) -> Features:
    """The features of a chat completion request.

    Tokens are estimated from the text of all messages, four bytes a token, a thousand an image, plus the
    completion tokens that the caller asks for.
    """
    size = images = 0
    uses_tools = False
    for message in body.messages:
        content = message.content
        if isinstance(content, str):
            size += len(content) if content.isascii() else _bytes(content)
        else:
            for part in content or ():
                if part.text:
                    size += _bytes(part.text)
                elif part.type.endswith("image") or part.type == "image_url":
                    images += 1
        if message.tool_calls or message.role in ("tool", "function"):
            uses_tools = True
    tools = ()
    if body.tools:
        tools = tuple(
            ToolFact(tool.function.name, tool.function.description or "")
            for tool in body.tools
            if tool.function
        )
    shape = body.response_format
    requested = body.max_completion_tokens or body.max_tokens or 0
    return Features(
        text=last_user_text(body),
        tools=tools,
        required=_REQUIRED[
            bool(uses_tools or body.tools or body.functions),
            images > 0,
            bool(body.stream),
            shape is not None and shape.type != "text",
        ],
        tokens=size // _BYTES_PER_TOKEN + images * IMAGE_TOKENS + requested,
        sticky_expert=sticky_expert,
    )


_OPTIONAL: tuple[Capability, ...] = ("tools", "vision", "stream", "json_schema")
_REQUIRED: dict[tuple[bool, ...], frozenset[Capability]] = {
    wanted: frozenset({"chat", *compress(_OPTIONAL, wanted)})
    for wanted in product((False, True), repeat=len(_OPTIONAL))
}


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
