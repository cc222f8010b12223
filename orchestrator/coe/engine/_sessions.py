"""Which expert each session is with.

A conversation that stays with one expert finds its provider's prompt cache warm. A session is what the caller
calls so, or, where fingerprints are wanted, a conversation that goes on: the same system prompt and the same
first user turn, of the same tenant.

It is kept in this process, and where replicas share a cache, there too, as the decision that the session was
last given. The shared cache bounds every wait; when it is away each process goes on with what it knows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from coe.cache import KEY_BYTES
from coe.contracts import Decision, DecisionCache, Features, PoolView, Ranked, Reason
from coe.engine._records import Switch, SwitchReason
from coe.wire import ChatBody, message_text

TRUST_S = 5.0
"""How long this process goes by what it knows, before it asks what the others have done since."""
_NAMED, _CONVERSATION = b"coe-session-n", b"coe-session-c"


class SessionKey(NamedTuple):
    """A session of a tenant and a virtual model.

    Attributes:
        begins: a conversation's first turn: it is with nobody yet, whomever one that began alike is with.
    """

    digest: bytes
    begins: bool


class _Entry(NamedTuple):
    expert: str
    expires_at: float
    trusted_until: float


class Sessions:
    """Remembers experts by session.

    Args:
        clock: monotonic seconds.
        ttl_s: how long a session is kept after its last request.
        most: sessions kept in this process; those unused longest go first.
        fingerprints: whether conversations are sessions without being called so.
        shared: where replicas share them.
        previous: whose sessions go on.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        ttl_s: float = 3600,
        most: int = 100_000,
        fingerprints: bool = False,
        shared: DecisionCache | None = None,
        previous: Sessions | None = None,
    ) -> None:
        self.fingerprints = fingerprints
        self._clock = clock
        self._ttl_s = ttl_s
        self._most = most
        self._shared = shared
        self._known: OrderedDict[bytes, _Entry] = previous._known if previous else OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def key(self, tenant: str, session: str | None, body: ChatBody) -> SessionKey | None:
        """The request's session; None when it has none."""
        if session:
            return SessionKey(_digest(_NAMED, tenant, body.model, session), begins=False)
        system: list[str] = []
        first: str | None = None
        goes_on = False
        for message in body.messages:
            if message.role in ("system", "developer"):
                system.append(message_text(message))
            elif message.role != "user":
                goes_on = True
                break
            elif first is None:
                first = message_text(message)
        if first is None:
            return None
        return SessionKey(
            _digest(_CONVERSATION, tenant, body.model, "\0".join(system), first), begins=not goes_on
        )

    async def expert(self, key: SessionKey) -> str | None:
        """Whom the session is with."""
        if key.begins:
            return None
        entry, now = self._known.get(key.digest), self._clock()
        if entry is not None and now >= entry.expires_at:
            entry = None
        if self._shared is None or (entry is not None and now < entry.trusted_until):
            return entry.expert if entry is not None else None
        found = await self._ask(self._shared, key.digest)
        if found is None:
            return entry.expert if entry is not None else None
        self._put(key.digest, found, now)
        return found

    async def keep(self, key: SessionKey, expert: str) -> None:
        """The session is with this expert now. Does not wait."""
        entry, now = self._known.get(key.digest), self._clock()
        if entry is not None and entry.expert == expert and now < entry.trusted_until:
            self._known.move_to_end(key.digest)
            return  # said a moment ago
        self._put(key.digest, expert, now)
        if self._shared is not None:
            decision = Decision(expert=expert, ranked=(Ranked(expert),), reason=Reason.SESSION)
            try:
                await self._shared.set(key.digest, decision, self._ttl_s)
            except Exception:  # noqa: BLE001 - a plugin's failure must not fail the request.
                return

    def _put(self, digest: bytes, expert: str, now: float) -> None:
        self._known[digest] = _Entry(expert, now + self._ttl_s, now + min(TRUST_S, self._ttl_s / 2))
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    @staticmethod
    async def _ask(shared: DecisionCache, digest: bytes) -> str | None:
        try:
            decision = await shared.get(digest)
        except Exception:  # noqa: BLE001 - as above.
            return None
        return None if decision is None else decision.expert


def switch_of(left: str, features: Features, view: PoolView, fit: PoolView, known: bool) -> Switch:
    """Why a session left its expert.

    Args:
        left: whom it was with.
        features: of the request.
        view: who may be chosen at all.
        fit: who can serve the request.
        known: whether the pool has that expert.
    """
    why: SwitchReason
    if left in fit.experts:
        why = "router"
    elif (state := view.experts.get(left)) is None:
        why = "not_offered" if known else "removed"
    elif not features.required <= state.card.capabilities:
        why = "incapable"
    elif state.card.context_window is not None and features.tokens > state.card.context_window:
        why = "context_window"
    else:
        why = "limits" if state.healthy else "failing"
    return Switch(left, why)


def _digest(kind: bytes, *parts: str) -> bytes:
    text = "\0".join([*parts, *[str(len(part)) for part in parts]])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES, person=kind).digest()
