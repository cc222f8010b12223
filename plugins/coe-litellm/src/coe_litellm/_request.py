"""From a chat request to the arguments of litellm's `acompletion`."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from coe.wire import FIELDS, ChatRequest

_SET_BY_US = frozenset({"model", "stream", "stream_options"})
_STORES_METADATA = frozenset({"openai", "azure"})

_NEVER_LEFT_OUT = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "logprobs",
        "modalities",
        "n",
        "response_format",
        "stop",
        "tool_choice",
        "tools",
        "top_logprobs",
        "web_search_options",
    }
)
"""Fields that an answer without them would not be an answer to."""

_AS_IF_ABSENT: dict[str, Any] = {
    "function_call": "auto",
    "logprobs": False,
    "modalities": ["text"],
    "n": 1,
    "response_format": {"type": "text"},
    "tool_choice": "auto",
    "top_logprobs": 0,
}
"""Values that say what is the case anyway."""


def arguments_of(request: ChatRequest, provider: str) -> dict[str, Any]:
    """The request's fields as litellm's arguments, in a copy: litellm rewrites messages in place.

    Only fields of OpenAI's API and coe's listed extensions become arguments. Whatever else the operator lets
    through goes into the body for the provider, because litellm takes its own settings, `api_base` and
    `mock_response` among them, as arguments beside those fields: a client must not reach them.
    """
    arguments: dict[str, Any] = {}
    body: dict[str, Any] = {}
    for field, value in copy.deepcopy(request.payload).items():
        if value is None or field in _SET_BY_US:
            continue
        if field == "metadata":
            # litellm's argument of that name is for its own logging, not OpenAI's field.
            if provider in _STORES_METADATA:
                body[field] = value
        elif field in FIELDS:
            arguments[field] = value
        else:
            body[field] = value
    if body:
        arguments["extra_body"] = body
    return arguments


def unsupported_field(request: ChatRequest, supported: Collection[str]) -> str | None:
    """The first field that the provider cannot serve and that must not be left out, or None."""
    for field, value in request.payload.items():
        if (
            field in _NEVER_LEFT_OUT
            and field not in supported
            and value is not None
            and value != _AS_IF_ABSENT.get(field, [])
        ):
            return field
    return None
