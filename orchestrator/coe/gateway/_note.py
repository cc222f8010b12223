"""From one request to its record in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from coe.contracts import Card, Reply
from coe.engine import DEFAULT_TENANT, Served, Trail
from coe.errors import CoeError
from coe.gateway._asgi import ClientGone
from coe.gateway._facts import failure_lines
from coe.journal import MAX_PROMPT_CHARACTERS, Journal, Line, session_hash
from coe.wire import ChatRequest, last_user_text

if TYPE_CHECKING:
    from coe.gateway._tracing import Span
    from coe.pool import Pool

NOTE = "coe.note"
"""Key of the scope under which a request's note is found, once it has one."""

_MAX_MODEL_CHARACTERS = 256
"""A caller may ask for anything; what no expert or router is called is not worth more."""


class Note(msgspec.Struct, gc=False):
    """The record of one request in the making. It is written when the `with` block ends, however it ends.

    A Struct, because every request makes one: half the cost of a class with an `__init__`.

    Attributes:
        journal: where the record goes; None when no journal is kept.
        clock: monotonic seconds.
        request_id: the decision id.
        tenant, session, request, served: facts for the record, set as they become known.
        trail: for the engine to fill in.
        endpoint: where the request came in, when it is no chat.
        span: its span, where spans are made.
        error: code of an error that was sent within the answer.
        sent_chunks, sent_bytes: how much of the answer went out.
        started, first_byte_at: seconds of `clock`.
        arrived: seconds since 1970.
    """

    journal: Journal | None
    clock: Callable[[], float]
    request_id: str
    tenant: str = DEFAULT_TENANT
    session: str | None = None
    request: ChatRequest | None = None
    served: Served | None = None
    trail: Trail = msgspec.field(default_factory=Trail)
    endpoint: str | None = None
    span: Span | None = None
    error: str | None = None
    sent_chunks: int = 0
    sent_bytes: int = 0
    started: float = 0.0
    first_byte_at: float | None = None
    arrived: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()
        if self.journal is not None:
            self.arrived = self.journal.wall_clock()

    def first_byte(self) -> None:
        """The answer begins."""
        self.first_byte_at = self.clock()

    def sent(self, piece: bytes) -> None:
        """A piece of a stream has been sent."""
        if not self.sent_chunks:
            self.first_byte()
        self.sent_chunks += 1
        self.sent_bytes += len(piece)

    def failure_lines(self, pool: Pool) -> bytes:
        """The `x-coe-*` headers of an error that answers the request."""
        trail, card = self.trail, None
        if trail.routed is not None:
            asked = trail.attempts[-1].expert if trail.attempts else trail.routed.decision.expert
            card = pool.member(asked).expert.card
        return failure_lines(self.request_id, trail, card)

    def __enter__(self) -> Note:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.journal is not None:
            routed = self.trail.routed
            self.journal.add(self._line(self.journal, error), None if routed is None else routed.decision)
        if self.span is not None:
            status, code = (200, self.error) if error is None else _outcome(error)
            self.span.end(self, status, code)

    def _line(self, journal: Journal, error: BaseException | None) -> Line:
        status, code = (200, self.error) if error is None else _outcome(error)
        total_us = int((self.clock() - self.started) * 1e6)
        line = Line(id=self.request_id, time=self.arrived, status=status, total_us=total_us)
        line.error = code
        line.endpoint = self.endpoint
        line.tenant = self.tenant
        line.sent_chunks = self.sent_chunks
        line.sent_bytes = self.sent_bytes
        if (request := self.request) is not None:
            line.model = request.body.model[:_MAX_MODEL_CHARACTERS]
            line.streamed = request.body.stream or False
            if journal.prompts:
                line.prompt = last_user_text(request.body)[:MAX_PROMPT_CHARACTERS]
        if self.session is not None:
            line.session = session_hash(self.tenant, self.session)
        if (routed := self.trail.routed) is not None:
            line.cache = routed.cache
            line.route_us = routed.route_us
            if routed.switch is not None:
                line.session_switch = routed.switch.why
        line.attempts = self.trail.attempts
        if (served := self.served) is not None:
            line.expert = served.card.name
            line.cost_usd = cost_usd(served.card, served.reply)
            line.candidates = served.reply.candidates
            if (usage := served.reply.usage) is not None:
                line.prompt_tokens = usage.prompt_tokens
                line.completion_tokens = usage.completion_tokens
                line.estimated = served.reply.estimated
        if self.first_byte_at is not None:
            line.first_byte_us = int((self.first_byte_at - self.started) * 1e6)
        return line


def cost_usd(card: Card, reply: Reply) -> float | None:
    """What an answer cost: as the expert says, else its tokens at the card's prices; None when not known.

    An expert on this machine is free when its card says nothing else.
    """
    if reply.cost_usd is not None:
        return reply.cost_usd
    usage, inward, outward = reply.usage, card.input_usd_per_mtok, card.output_usd_per_mtok
    if inward is None and outward is None and card.locality == "local":
        return 0.0
    if usage is None or inward is None or (outward is None and usage.completion_tokens):
        return None
    return (usage.prompt_tokens * inward + usage.completion_tokens * (outward or 0)) / 1e6


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
