"""One record per served request. Its fields are what files and programs depend on: add, never change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from coe.contracts import Candidate, Decision, Excluded, Ranked

SCHEMA = 1
"""Version of `Record`, in every record. Readers ignore fields that they do not know."""

MAX_PROMPT_CHARACTERS = 32_768
"""A recorded prompt is cut after so many: the queue and the segments are bounded."""


class Attempt(msgspec.Struct, frozen=True):
    """One expert that was asked.

    `error` is the code of the error: empty for the one that answered, `cancelled` when nobody waited longer.
    """

    expert: str
    error: str
    seconds: float


class Likely(msgspec.Struct, frozen=True):
    """A category and its calibrated probability."""

    category: str
    probability: float


class _Common(msgspec.Struct, kw_only=True, gc=False):
    """What a `Record` says of the request and its answer."""

    id: str
    time: float
    schema: int = SCHEMA
    tenant: str = "default"
    model: str | None = None
    session: str | None = None
    cache: str | None = None
    route_us: int | None = None
    expert: str | None = None
    status: int
    error: str | None = None
    streamed: bool = False
    sent_chunks: int = 0
    sent_bytes: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    first_byte_us: int | None = None
    total_us: int
    prompt: str | None = None
    endpoint: str | None = None
    estimated: bool | None = None
    session_switch: str | None = None
    candidates: tuple[Candidate, ...] = ()


class Record(_Common, kw_only=True, gc=False):
    """What one request left behind. Unknown facts are null: a body that was refused has no decision.

    It is mutable because a record that is made empty and then filled costs half of one that is made at once;
    the garbage collector need not look at it, because nothing in it refers back.

    Attributes:
        schema: version of this record.
        id: decision id, as in `x-coe-decision-id`.
        time: when the request arrived, in seconds since 1970 (UTC).
        tenant: whose request it was.
        model: what the caller asked for.
        session: `session_hash` of the caller's session.
        category: of the prompt.
        categories: the most probable ones, highest first.
        uncertainty: 0 (sure) .. 1 (no idea).
        reason: why `chosen` was chosen; `coe.contracts.Reason`.
        chosen: the expert of the decision.
        propensity: the probability with which the policy chooses `chosen` here, as the router says;
            off-policy estimates divide by it.
        ranked: eligible experts by preference, with expected scores.
        excluded: experts that could not serve the request.
        revision: of the router that decided.
        cache: whether the decision came from the cache: hit, miss, off.
        route_us: microseconds to decide.
        attempts: who was asked, in order.
        expert: who answered; another than `chosen` after a fallback.
        status: of the response; 499 when the caller went away.
        error: code of the error that ended the request, if one did; after the first byte of a stream too.
        streamed: whether the answer was a stream.
        sent_chunks, sent_bytes: how much of the answer went to the caller.
        prompt_tokens, completion_tokens: as the expert reported them.
        cost_usd: as the expert reported it, else tokens times the card's prices.
        first_byte_us, total_us: from the arrival to the first byte and to the end of the answer.
        prompt: the last user turn, only with `journal.prompts`, at most 32,768 characters.
        endpoint: where it came in: None for /v1/chat/completions, else the path.
        session_switch: why the session left the expert that it was with, if it did.
        candidates: the answers that a composite expert chose from, with their scores and costs.
        estimated: whether the tokens are coe's estimate, because the expert reported none.
    """

    category: str | None = None
    categories: tuple[Likely, ...] = ()
    uncertainty: float | None = None
    reason: str | None = None
    chosen: str | None = None
    propensity: float | None = None
    ranked: tuple[Ranked, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    revision: str | None = None
    attempts: tuple[Attempt, ...] = ()


class Line(_Common, kw_only=True, gc=False):
    """A `Record` in the making, without what its decision says: `encode_line` adds that.

    Decisions come again and again from the cache, and what they say is half of a record.
    """

    attempts: Sequence[Any] = ()
    """Each with the fields of `Attempt`."""


class Decided(msgspec.Struct):
    """The rest of a `Record`."""

    category: str | None = None
    categories: Sequence[Likely] = ()
    uncertainty: float | None = None
    reason: str | None = None
    chosen: str | None = None
    propensity: float | None = None
    ranked: tuple[Ranked, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    revision: str | None = None


encode = msgspec.json.Encoder().encode
_UNDECIDED = encode(Decided())[1:]
_MAX_DECIDED = 1024
_decided: dict[int, tuple[Decision, bytes]] = {}
"""By the decision's `id`, which is its own as long as it is kept here."""


def encode_line(line: Line, decision: Decision | None) -> bytes:
    """A record as JSON, without the line's end."""
    return b"%b,%b" % (encode(line)[:-1], _UNDECIDED if decision is None else _rest(decision))


def _rest(decision: Decision) -> bytes:
    known = _decided.get(id(decision))
    if known is not None:
        return known[1]
    rest = encode(
        Decided(
            category=decision.category,
            categories=[Likely(*each) for each in decision.probabilities],
            uncertainty=decision.uncertainty,
            reason=decision.reason,
            chosen=decision.expert,
            propensity=decision.propensity,
            ranked=decision.ranked,
            excluded=decision.excluded,
            revision=decision.revision,
        )
    )[1:]
    if len(_decided) >= _MAX_DECIDED:
        _decided.clear()
    _decided[id(decision)] = decision, rest
    return rest


_decoder = msgspec.json.Decoder(Record)


def decode(line: bytes) -> Record | None:
    """The record of a line; None when it is none, whatever the bytes are."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def session_hash(tenant: str, session: str) -> str:
    """A session's name in the journal: the same for the same tenant and session, 16 hex digits.

    It links the requests of one conversation. It hides the session's name from a reader, not from one who can
    guess it.
    """
    return hashlib.blake2b(session.encode(), key=tenant.encode()[:64], digest_size=8).hexdigest()
