"""What the engine hands back, with the facts that headers, logs and metrics are made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal

import msgspec

from coe.contracts import Card, Decision, Reply

CacheOutcome = Literal["hit", "miss", "off"]
SwitchReason = Literal["failing", "incapable", "context_window", "limits", "not_offered", "removed", "router"]
"""Why a session leaves its expert. A closed list: dashboards depend on it."""
DEFAULT_TENANT = "default"
"""Whose request it is when nobody says."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A session has left its expert, and why: it `expert` is failing, cannot do what is asked, …"""

    expert: str
    why: SwitchReason


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and how it came about.

    Attributes:
        model: what the caller asked for: a virtual model or an expert.
        cache: whether the decision came from the cache; `off` when there was nothing to look up.
        route_us: microseconds from features to decision, cache included.
        switch: when the session was with another expert before.
    """

    model: str
    decision: Decision
    cache: CacheOutcome
    route_us: int
    switch: Switch | None = None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One expert that was asked.

    `error` is the code of the error: empty for the one that answered, `cancelled` when nobody waited longer.
    """

    expert: str
    error: str
    seconds: float


class Trail(msgspec.Struct):
    """How far a request has come, filled in by the engine on its way: failed requests can be told too.

    Attributes:
        routed: the decision, once there is one.
        attempts: who was asked, in order.
    """

    routed: Routed | None = None
    attempts: list[Attempt] = []  # msgspec makes a new one for each


class Served(msgspec.Struct, kw_only=True):
    """An answer under way.

    Attributes:
        card: of the expert that answers.
        attempts: who was asked, in order; the last one answers.
        body: the completion, when it is not streamed.
        chunks: the stream from its first byte, when it is; close it when the caller goes away.
        reply: the expert's own reply; holds the usage at the end.
    """

    routed: Routed
    card: Card
    attempts: tuple[Attempt, ...]
    reply: Reply
    body: bytes | None = None
    chunks: AsyncGenerator[bytes, None] | None = None

    @property
    def fallback_from(self) -> tuple[str, ...]:
        """Experts that failed before this one answered."""
        if len(self.attempts) == 1:
            return ()
        return tuple([attempt.expert for attempt in self.attempts[:-1]])
