"""From a request to what routing may look at."""

from __future__ import annotations

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
    required: set[Capability] = {"chat"}
    size = images = 0
    for message in body.messages:
        if isinstance(message.content, str):
            size += _bytes(message.content)
        else:
            for part in message.content or ():
                if part.text:
                    size += _bytes(part.text)
                elif part.type.endswith("image") or part.type == "image_url":
                    images += 1
        if message.tool_calls or message.role in ("tool", "function"):
            required.add("tools")
    tools = ()
    if body.tools:
        required.add("tools")
        tools = tuple(
            ToolFact(tool.function.name, tool.function.description or "")
            for tool in body.tools
            if tool.function
        )
    elif body.functions:
        required.add("tools")
    if images:
        required.add("vision")
    if body.stream:
        required.add("stream")
    if body.response_format is not None and body.response_format.type != "text":
        required.add("json_schema")
    requested = body.max_completion_tokens or body.max_tokens or 0
    return Features(
        text=last_user_text(body),
        tools=tools,
        required=frozenset(required),
        tokens=size // _BYTES_PER_TOKEN + images * IMAGE_TOKENS + requested,
        sticky_expert=sticky_expert,
    )


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
