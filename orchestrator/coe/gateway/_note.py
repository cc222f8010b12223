"""From one request to its record in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any

from coe.contracts import Card, Reply
from coe.engine import DEFAULT_TENANT, Served, Trail
from coe.errors import CoeError
from coe.gateway._asgi import ClientGone
from coe.journal import MAX_PROMPT_CHARACTERS, Attempt, Journal, Record, session_hash
from coe.wire import ChatRequest, last_user_text

_PROPENSITY = 1.0
"""Routers are deterministic: given the features, the view and the revision there is one choice."""

_MAX_MODEL_CHARACTERS = 256
"""A caller may ask for anything; what no expert or router is called is not worth more."""


class Note:
    """The record of one request in the making. It is written when the `with` block ends, however it ends.

    Args:
        journal: where the record goes; None when no journal is kept.
        clock: monotonic seconds.
        request_id: the decision id.
        tenant: whose request it is.

    Attributes:
        session, request, served: facts for the record, set as they become known.
        trail: for the engine to fill in.
        error: code of an error that was sent within the answer.
        sent_chunks, sent_bytes: how much of the answer went out.
    """

    __slots__ = (
        "_arrived",
        "_clock",
        "_first_byte_at",
        "_journal",
        "_started",
        "error",
        "request",
        "request_id",
        "sent_bytes",
        "sent_chunks",
        "served",
        "session",
        "tenant",
        "trail",
    )

    def __init__(
        self,
        journal: Journal | None,
        clock: Callable[[], float],
        request_id: str,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._started = clock()
        self._arrived = 0.0 if journal is None else journal.wall_clock()
        self._first_byte_at: float | None = None
        self.request_id = request_id
        self.tenant = tenant
        self.session: str | None = None
        self.request: ChatRequest | None = None
        self.served: Served | None = None
        self.trail = Trail()
        self.error: str | None = None
        self.sent_chunks = 0
        self.sent_bytes = 0

    def first_byte(self) -> None:
        """The answer begins."""
        self._first_byte_at = self._clock()

    def __enter__(self) -> Note:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.add(self._record(self._journal, error))

    def _record(self, journal: Journal, error: BaseException | None) -> Record:
        status, code = (200, self.error) if error is None else _outcome(error)
        facts: dict[str, Any] = {}
        if self.request is not None:
            facts["model"] = self.request.body.model[:_MAX_MODEL_CHARACTERS]
            facts["streamed"] = bool(self.request.body.stream)
            if journal.prompts:
                facts["prompt"] = last_user_text(self.request.body)[:MAX_PROMPT_CHARACTERS]
        if self.session is not None:
            facts["session"] = session_hash(self.tenant, self.session)
        if (routed := self.trail.routed) is not None:
            decision = routed.decision
            facts["category"] = decision.category
            facts["probabilities"] = decision.probabilities
            facts["uncertainty"] = decision.uncertainty
            facts["reason"] = decision.reason
            facts["chosen"] = decision.expert
            facts["propensity"] = _PROPENSITY
            facts["ranked"] = decision.ranked
            facts["excluded"] = decision.excluded
            facts["revision"] = decision.revision
            facts["cache"] = routed.cache
            facts["route_us"] = routed.route_us
        if self.trail.attempts:
            attempts = self.trail.attempts
            facts["attempts"] = tuple(Attempt(each.expert, each.error, each.seconds) for each in attempts)
        if (served := self.served) is not None:
            facts["expert"] = served.card.name
            facts["cost_usd"] = cost_usd(served.card, served.reply)
            if (usage := served.reply.usage) is not None:
                facts["prompt_tokens"] = usage.prompt_tokens
                facts["completion_tokens"] = usage.completion_tokens
        if self._first_byte_at is not None:
            facts["first_byte_us"] = int((self._first_byte_at - self._started) * 1e6)
        return Record(
            id=self.request_id,
            time=self._arrived,
            tenant=self.tenant,
            status=status,
            error=code,
            sent_chunks=self.sent_chunks,
            sent_bytes=self.sent_bytes,
            total_us=int((self._clock() - self._started) * 1e6),
            **facts,
        )


def cost_usd(card: Card, reply: Reply) -> float | None:
    """What an answer cost: as the expert says, else its tokens at the card's prices; None when not known.

    An expert on this machine is free when its card says nothing else.
    """
    if reply.cost_usd is not None:
        return reply.cost_usd
    usage, inward, outward = reply.usage, card.input_usd_per_mtok, card.output_usd_per_mtok
    if inward is None and outward is None and card.locality == "local":
        return 0.0
    if usage is None or inward is None or outward is None:
        return None
    return (usage.prompt_tokens * inward + usage.completion_tokens * outward) / 1e6


def _outcome(error: BaseException) -> tuple[int, str]:
    """Status and code of a request that an error ended."""
    if isinstance(error, CoeError):
        return error.status, error.code
    if isinstance(error, ClientGone):
        return 499, "client_gone"
    if isinstance(error, asyncio.CancelledError):
        # Requests that are still running when the time to drain has passed.
        return 503, "cancelled"
    return 500, "internal_error"
