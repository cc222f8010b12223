"""Experts and their live state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from coe.breaker import Breaker
from coe.contracts import Expert, ExpertState, Layered, Loaded, PoolView, Punctual, SparseLayer, Startable
from coe.errors import ModelNotFound
from coe.pool._eligibility import narrow
from coe.pool._gate import Gate
from coe.pool._limited import unlimited
from coe.pool._probes import Probe


@dataclass(slots=True)
class Member:
    """One expert of the pool.

    Attributes:
        expert: whom to ask.
        routable: whether routers may choose it.
        in_flight: requests that it is answering, or that wait for it.
        bases: names of the experts that it asks.
        gate: where requests wait for it; None without a limit.
        probe: what looking at it has shown; None where nobody looks.
        punctual: as of `Punctual`.
    """

    name: str
    expert: Expert
    breaker: Breaker
    routable: bool = True
    in_flight: int = 0
    bases: frozenset[str] = frozenset()
    gate: Gate | None = None
    probe: Probe | None = None
    punctual: bool = field(init=False)
    startable: Startable | None = field(init=False)
    loaded: Loaded | None = field(init=False)
    layered: Layered | None = field(init=False)

    def __post_init__(self) -> None:
        self.punctual = isinstance(self.expert, Punctual) and self.expert.punctual
        self.startable = self.expert if isinstance(self.expert, Startable) else None
        inner = unlimited(self.expert)
        self.loaded = inner if isinstance(inner, Loaded) else None
        self.layered = inner if isinstance(inner, Layered) else None

    @property
    def awake(self) -> bool:
        """Whether it can answer at once."""
        return self.startable is None or self.startable.awake

    @property
    def load(self) -> int:
        """How busy its server is, as of `Loaded`."""
        return 0 if self.loaded is None else self.loaded.load

    @property
    def sparse_layers(self) -> Sequence[SparseLayer]:
        """What the sparse layers of its model did, as of `Layered`."""
        return () if self.layered is None else self.layered.sparse_layers


class Pool:
    """The experts of this process.

    Args:
        members: in the order of the configuration, which is the order of last resort.
        clock: monotonic seconds.
    """

    def __init__(self, members: Iterable[Member], clock: Callable[[], float]) -> None:
        self._members = {member.name: member for member in members}
        self._startable = [member for member in self._members.values() if member.startable is not None]
        self._loaded = [member for member in self._members.values() if member.loaded is not None]
        self._clock = clock
        self._view: PoolView | None = None
        self._narrowed: dict[tuple[str, ...] | None, PoolView] = {}
        self._expires_at = float("inf")
        self._live: list[int] = []
        self.heir: Pool | None = None
        """The pool that has taken members over, and must hear how they do."""

    @property
    def members(self) -> Mapping[str, Member]:
        """Every expert by name, routable or not."""
        return self._members

    def member(self, name: str) -> Member:
        """One expert. Raises `ModelNotFound`."""
        try:
            return self._members[name]
        except KeyError:
            raise ModelNotFound(f"No expert is called `{name}`.", param="model") from None

    def view(self, names: tuple[str, ...] | None = None) -> PoolView:
        """A snapshot of the routable experts, or of `names` only. The same object until something changes."""
        view = self._current()
        if (narrowed := self._narrowed.get(names)) is None:
            chosen = (
                {name: view.experts[name] for name in names}
                if names is not None
                else {name: state for name, state in view.experts.items() if self._members[name].routable}
            )
            narrowed = self._narrowed[names] = narrow(view, chosen)
        return narrowed

    def succeeded(self, name: str) -> None:
        """Note that an expert answered."""
        if self._members[name].breaker.success():
            self._changed()

    def failed(self, name: str) -> None:
        """Note that an expert failed."""
        breaker = self._members[name].breaker
        before = breaker.changes_at()
        breaker.failure(self._clock())
        if breaker.changes_at() != before:
            self._changed()

    def probed(self, name: str, why: str, *, own: bool = True) -> None:
        """Note what looking at an expert has shown: what is wrong, or nothing. `own`: this process looked.

        One that is back is asked again at once, whatever its breaker has counted meanwhile.
        """
        member = self._members[name]
        if member.probe is not None and member.probe.note(why, own=own):
            if not member.probe.failing:
                member.breaker.success()
            self._changed()

    async def aclose(self, living: Iterable[Pool] = ()) -> None:
        """Close every expert that none of the `living` pools has taken over."""
        kept = {id(member.expert) for pool in living for member in pool.members.values()}
        for member in self._members.values():
            if id(member.expert) not in kept:
                await member.expert.aclose()

    def _changed(self) -> None:
        self._view = None
        if self.heir is not None:
            self.heir._changed()

    def _current(self) -> PoolView:
        live: list[int] = self._live
        if self._startable or self._loaded:
            live = [member.awake for member in self._startable]
            live.extend([member.load for member in self._loaded])
        if self._view is None or live != self._live or self._clock() >= self._expires_at:
            self._live = live
            self._view = self._snapshot()
            self._narrowed.clear()
        return self._view

    def _ill(self, member: Member) -> bool:
        """Whether looking at it, or at an expert that it asks, shows that it cannot answer."""
        if member.probe is not None and member.probe.failing:
            return True
        return any(self._ill(self._members[base]) for base in member.bases if base in self._members)

    def _snapshot(self) -> PoolView:
        now = self._clock()
        states = {
            name: ExpertState(
                member.expert.card,
                member.breaker.state(now) != "open" and not self._ill(member),
                member.awake,
                member.load,
            )
            for name, member in self._members.items()
        }
        changes = [
            at for m in self._members.values() if (at := m.breaker.changes_at()) is not None and at > now
        ]
        self._expires_at = min(changes, default=float("inf"))
        encoded = msgspec.msgpack.encode(states, order="deterministic")
        return PoolView(states, hashlib.blake2b(encoded, digest_size=16).hexdigest())
