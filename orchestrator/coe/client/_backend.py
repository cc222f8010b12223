"""What a client stands on: a server, or an engine in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from coe.engine import Routed
from coe.wire import ModelInfo

DEFAULT_URL = "http://127.0.0.1:8642"
Prompt = str | Sequence[Mapping[str, Any]]
"""The text of one user turn, or a conversation as OpenAI's API has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An answer under way: either a whole `body` or `chunks`.

    Attributes:
        facts: of the `coe` object, as far as they are known before the body; values may be text still.
        body: the chat.completion object as JSON bytes.
        chunks: SSE bytes; closing the generator cancels the call.
    """

    facts: Mapping[str, Any]
    body: bytes | None = None
    chunks: AsyncGenerator[bytes, None] | None = None


class Backend(Protocol):
    """Serves a client. Payloads are bodies of `POST /v1/chat/completions`; failures are `CoeError`s."""

    async def complete(self, payload: dict[str, Any], session: str | None) -> Exchange:
        """Have it answered."""
        ...

    async def route(self, payload: dict[str, Any], session: str | None) -> Routed:
        """Decide only."""
        ...

    async def models(self) -> list[ModelInfo]:
        """What `model` may be."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


def payload_of(messages: Prompt, model: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The body that these arguments stand for."""
    listed = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return {"model": model, "messages": listed, **fields}
