"""A client's backend: an engine in this process."""

from __future__ import annotations

import secrets
import time
from typing import Any

from coe.client._backend import Exchange
from coe.contracts import Context
from coe.engine import DEFAULT_TENANT, Engine, Routed, coe_object, model_infos
from coe.wire import ModelInfo, chat_request


class InProcess:
    """Answers with the experts of this process.

    Args:
        engine: closed with the client.
        timeout_s: longest time for one request, fallbacks included.
        extra_fields: fields beyond OpenAI's that are passed to experts unread.
    """

    def __init__(self, engine: Engine, timeout_s: float, extra_fields: frozenset[str]) -> None:
        self._engine = engine
        self._timeout_s = timeout_s
        self._extra_fields = extra_fields

    async def complete(self, payload: dict[str, Any], session: str | None) -> Exchange:
        """Have it answered."""
        decision_id = "dec_" + secrets.token_hex(10)
        context = Context(
            tenant=DEFAULT_TENANT,
            request_id=decision_id,
            deadline=time.monotonic() + self._timeout_s,
            clock=time.monotonic,
        )
        request = chat_request(payload, self._extra_fields)
        served = await self._engine.complete(request, context, session)
        return Exchange(facts=coe_object(decision_id, served), body=served.body, chunks=served.chunks)

    async def route(self, payload: dict[str, Any], session: str | None) -> Routed:
        """Decide only."""
        request = chat_request(payload, self._extra_fields)
        return await self._engine.route(request, DEFAULT_TENANT, session)

    async def models(self) -> list[ModelInfo]:
        """What `model` may be."""
        return model_infos(self._engine)

    async def aclose(self) -> None:
        """Stop the experts."""
        await self._engine.aclose()
