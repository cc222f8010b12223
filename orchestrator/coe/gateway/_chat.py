"""`POST /v1/chat/completions` and `POST /v1/route`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec

from coe.config import ServerConfig
from coe.contracts import Context
from coe.deadlines import Deadlines, Limit
from coe.engine import Engine, Served, Work, explanation
from coe.errors import CoeError, ExpertProtocolError, ExpertTimeout, InvalidRequest
from coe.events import MAX_EVENT_BYTES, last_end
from coe.gateway._asgi import (
    EVENT_STREAM,
    Receive,
    Scope,
    Send,
    read_body,
    respond,
)
from coe.gateway._caller import caller, limit_lines
from coe.gateway._envelope import error_frame
from coe.gateway._exchange import EXCHANGE, CancelOnDisconnect, Exchange
from coe.gateway._facts import (
    Told,
    annotate,
    annotate_first_event,
    answer_lines,
    coe_json,
    decision_lines,
    told,
)
from coe.gateway._generation import Handler
from coe.gateway._metrics import Metrics
from coe.gateway._note import NOTE, Note
from coe.gateway._ready import unless_ready
from coe.journal import Journal
from coe.wire import chat_request, parse_chat

if TYPE_CHECKING:
    from coe.gateway._tracing import Tracing
    from coe.tenants import TenantGuard, Tenants

Parse = Callable[[bytes, frozenset[str]], Work]
"""From a body, and the fields that pass unread, to what is asked for."""

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_SESSION_BYTES = 256


@dataclass(frozen=True, slots=True)
class Control:
    """What the caller asks for in headers. Every other inbound `x-coe-*` header is ignored."""

    session: str | None = None
    explain: bool = False
    traceparent: str | None = None


_NO_CONTROL = Control()


def read_control(scope: Scope) -> Control:
    """The documented request headers. Raises `InvalidRequest` for a session that is too long."""
    headers: dict[bytes, bytes] = scope["headers"]
    session, explain = headers.get(b"x-coe-session"), headers.get(b"x-coe-explain")
    traceparent = headers.get(b"traceparent")
    if session is traceparent is explain is None:
        return _NO_CONTROL
    if session is not None and len(session) > _MAX_SESSION_BYTES:
        raise InvalidRequest(f"`x-coe-session` is longer than {_MAX_SESSION_BYTES} bytes.")
    return Control(
        None if session is None else session.decode("latin-1"),
        explain is not None and explain.strip().lower() not in (b"", b"0", b"false", b"no"),
        traceparent.decode() if traceparent and _TRACEPARENT.fullmatch(traceparent) else None,
    )


class ChatHandler:
    """Answers chat completions and routing questions.

    Args:
        engine: routes and asks.
        config: limits.
        metrics: told about usage.
        clock: monotonic seconds.
        new_id: gives decision ids.
        journal: where requests leave their records.
        tenants: who may ask and how much; None when everybody may, without limits.
        tracing: makes spans; None when nobody wants any.
    """

    def __init__(
        self,
        engine: Engine,
        config: ServerConfig,
        metrics: Metrics,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        journal: Journal | None = None,
        tenants: Tenants | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._engine = engine
        self._max_body_bytes = int(config.max_body_mb * 1e6)
        self._timeout_s = config.request_timeout_s
        self._extra_fields = config.extra_fields
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id
        self._journal = journal
        self._tenants = tenants
        self._deadlines = Deadlines()
        self._tracing = tracing

    def complete(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[int]:
        """`POST /v1/chat/completions`. Returns the status."""
        # Before anything is read: who may not ask costs no memory.
        tenant, guard = caller(scope, self._tenants)
        scope[NOTE] = note = Note(self._journal, self._clock, self._new_id(), tenant)
        return self._complete(scope, receive, send, note, guard)

    def other(self, endpoint: str, parse: Parse) -> Handler:
        """A handler for another endpoint, whose bodies `parse` reads."""

        def handle(scope: Scope, receive: Receive, send: Send) -> Awaitable[int]:
            tenant, guard = caller(scope, self._tenants)
            scope[NOTE] = note = Note(self._journal, self._clock, self._new_id(), tenant, endpoint=endpoint)
            return self._complete(scope, receive, send, note, guard, parse)

        return handle

    async def _complete(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        note: Note,
        guard: TenantGuard | None,
        parse: Parse | None = None,
    ) -> int:
        with note:
            exchange: Exchange = scope[EXCHANGE]
            raw = exchange.body(self._max_body_bytes) or await read_body(scope, receive, self._max_body_bytes)
            work = None if parse is None else parse(raw, self._extra_fields)
            note.request = request = parse_chat(raw, self._extra_fields) if work is None else work.request
            control = read_control(scope)
            note.session = control.session
            traceparent = control.traceparent
            if self._tracing is not None:
                note.span = self._tracing.begin(note, traceparent)
                traceparent = note.span.traceparent
            context = Context(
                tenant=note.tenant,
                request_id=note.request_id,
                deadline=self._clock() + self._timeout_s,
                clock=self._clock,
                traceparent=traceparent,
            )
            with CancelOnDisconnect(scope):
                served = await self._engine.complete(
                    request, context, control.session, note.trail, guard, work
                )
                note.served = served
                said = told(served)
                facts = coe_json(note.request_id, served, said, explain=control.explain)
                lines = answer_lines(note.request_id, served, said)
                if guard is not None:
                    lines += limit_lines(guard)
                if served.chunks is not None:
                    async with aclosing(served.chunks):
                        await self._stream(exchange, served.chunks, said, facts, lines, note, context)
                else:
                    body = self._annotated(served, said.model, facts)
                    note.first_byte()
                    exchange.answer(200, body, lines=lines)
                    note.sent_bytes = len(body)
            if note.first_byte_at is not None:
                own_s = note.first_byte_at - note.started - sum([each.seconds for each in served.attempts])
                self._metrics.overhead(own_s, streamed=served.chunks is not None)
            if not served.reply.estimated:
                self._metrics.used(served.card.name, served.reply.usage)
            return 200

    async def route(self, scope: Scope, receive: Receive, send: Send) -> int:
        """`POST /v1/route`: the decision for a chat body, or for `{"model", "prompt"}`. Calls nothing."""
        tenant, guard = caller(scope, self._tenants, answers=False)
        raw = await read_body(scope, receive, self._max_body_bytes)
        request = chat_request(_as_chat(raw), self._extra_fields)
        control = read_control(scope)
        routed = await self._engine.route(request, tenant, control.session, guard)
        decision_id = self._new_id()
        card = self._engine.pool.member(routed.decision.expert).expert.card
        body = {"object": "route", "id": decision_id, **explanation(routed)}
        lines = decision_lines(decision_id, routed, card) + limit_lines(guard)
        await respond(send, 200, msgspec.json.encode(body), lines=lines)
        return 200

    @staticmethod
    def _annotated(served: Served, model: bytes, facts: bytes) -> bytes:
        try:
            return annotate(served.body or b"", model, facts, checked=served.reply.checked)
        except msgspec.DecodeError as error:
            name = served.card.name
            raise ExpertProtocolError(f"`{name}` answered no JSON object.", expert=name) from error

    async def _stream(
        self,
        exchange: Exchange,
        chunks: AsyncGenerator[bytes, None],
        said: Told,
        facts: bytes,
        lines: bytes,
        note: Note,
        context: Context,
    ) -> None:
        """Forward a stream. Only the first event is touched; a failure becomes an error frame.

        What is here is sent when more has to be waited for: what came at once leaves at once.
        """
        # It is there, so nothing can be cancelled yet. Generators that never began would not clean up.
        ready = await anext(chunks)
        exchange.begin(200, EVENT_STREAM, lines)
        # An event of another shape (a comment, a bare [DONE]) carries no facts; the headers do.
        with suppress(msgspec.DecodeError, ValueError):
            ready = annotate_first_event(ready, said.model, facts)
        # A piece may end within an event, and an error must not: what is not whole waits for the rest.
        whole = max(last_end(ready), 0)
        ready, held = ready[:whole], bytearray(ready[whole:])

        def send() -> None:
            nonlocal ready
            if ready or not note.sent_chunks:
                exchange.piece(ready, more=True)
                note.sent(ready)
                ready = b""

        try:
            with Limit(self._deadlines, context.remaining_s()):
                while True:
                    chunk = await unless_ready(chunks.__anext__(), send)
                    if held or not chunk.endswith(b"\n\n"):
                        # An end may lie across the pieces.
                        before = bytes(held[-3:])
                        end = last_end(before + chunk) - len(before)
                        if end <= 0:
                            held += chunk
                            if len(held) > MAX_EVENT_BYTES:
                                raise ExpertProtocolError(
                                    f"`{said.card.name}` sent an event without an end.", expert=said.card.name
                                )
                            continue
                        chunk, held = bytes(held + chunk[:end]), bytearray(chunk[end:])
                    if ready:
                        send()
                    ready = chunk
                    await exchange.room()
        except StopAsyncIteration:
            last = bytes(held)
        except TimeoutError:
            error = ExpertTimeout(
                f"`{said.card.name}` did not finish within the deadline.", expert=said.card.name
            )
            note.error = error.code
            last = error_frame(error)
        except CoeError as error:
            note.error = error.code
            last = error_frame(error)
        if ready or not note.sent_chunks:
            note.sent(ready)
        exchange.piece(ready + last, more=False)


def _as_chat(raw: bytes) -> Any:
    """`{"prompt": …}` as the chat body that it stands for; any other JSON as it is."""
    try:
        body: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict) or "prompt" not in body:
        return cast("Any", body)
    rest = cast("dict[str, Any]", body)
    message = {"role": "user", "content": rest.pop("prompt")}
    return {"messages": [message], **rest}
