"""The engine: everything between a validated request and an answer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from coe.breaker import Breaker
from coe.cache import DecisionStore, Source, decision_key
from coe.contracts import Card, Context, Decision, Features, PoolView, Ranked, Reason, Reply, Router
from coe.deadlines import Deadlines, Limit
from coe.engine._candidates import candidates, choose_one, requested, unknown_model
from coe.engine._features import extract_features
from coe.engine._guard import Guard
from coe.engine._records import Attempt, CacheOutcome, Routed, Served, Switch, Trail
from coe.engine._retries import RetryBudget
from coe.engine._sessions import Sessions, switch_of
from coe.engine._usage import with_usage
from coe.engine._work import Work
from coe.errors import (
    CoeError,
    ExpertBusy,
    ExpertError,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)
from coe.pool import Member, Pool, Prober
from coe.wire import ChatRequest


class Observer(Protocol):
    """Told what happens, for metrics."""

    def routed(self, routed: Routed) -> None:
        """A decision was made."""
        ...

    def attempted(self, attempt: Attempt) -> None:
        """An expert was asked."""
        ...

    def router_failed(self, router: str, why: str) -> None:
        """A router raised, or chose an expert that it was not offered."""
        ...

    def stream_failed(self, expert: str, code: str) -> None:
        """An expert failed after its first byte."""
        ...


@dataclass(slots=True)
class RouterBinding:
    """A router under its virtual model's name.

    Attributes:
        experts: names it may choose from; None for every routable expert.
        breaker: a router that keeps raising is left alone for a while.
    """

    router: Router
    experts: tuple[str, ...] | None
    breaker: Breaker


class Engine:
    """Routes requests and has them answered.

    Args:
        pool: the experts.
        routers: by virtual model name.
        store: the decision cache, and what replicas share; None when there is neither.
        observer: told what happens.
        clock: monotonic seconds.
        max_attempts: experts asked for one request at most.
        retries: how many fallbacks all requests together may cause; None for any number.
        sessions: which expert each session is with; by default those that callers name, in this process.
        prober: looks at the experts from `start` to `aclose`.
    """

    def __init__(
        self,
        pool: Pool,
        routers: Mapping[str, RouterBinding],
        store: DecisionStore | None,
        observer: Observer,
        clock: Callable[[], float],
        max_attempts: int,
        retries: RetryBudget | None = None,
        sessions: Sessions | None = None,
        prober: Prober | None = None,
    ) -> None:
        self.pool = pool
        self.routers = routers
        self.store = store
        self._observer = observer
        self._clock = clock
        self._max_attempts = max_attempts
        self.retries = retries
        self._deadlines = Deadlines()
        self.prober = prober
        self.sessions = Sessions(clock) if sessions is None else sessions

    async def route(
        self,
        request: ChatRequest,
        tenant: str,
        session: str | None = None,
        guard: Guard | None = None,
        work: Work | None = None,
    ) -> Routed:
        """Decide who should answer; calls no expert.

        Raises:
            CoeError: what the `guard` raises.
            InvalidRequest: the caller must say which expert shall do the `work`.
            ModelNotFound: neither a virtual model nor an expert.
            NoEligibleExpert: no expert can serve the request.
            ExpertUnavailable: those that could keep failing.
        """
        started = self._clock()
        model = request.body.model
        key = sticky = None
        if session or self.sessions.fingerprints:
            key = self.sessions.key(tenant, session, request.body)
        if key is not None:
            sticky = await self.sessions.expert(key)
        features = extract_features(request.body, sticky)
        if work is not None:
            features = work.adapted(features, self._cards(model))
        if guard is not None:
            asked = self._clock()
            await guard.enter(request.body, features if work is None else work.reckoned(features))
            # It may wait for Redis, and that is not routing.
            started += self._clock() - asked
        binding = self.routers.get(model)
        outcome: CacheOutcome = "off"
        switch: Switch | None = None
        if binding is None:
            decision = self._requested(model, features, guard)
        elif work is not None and not work.by_content:
            decision = self._only(model, binding, features, guard)
        else:
            offered = self.pool.view(binding.experts)
            view, excluded = candidates(features, offered, guard)
            if self.store is None or not self.store.decides:
                decision = self._run(model, binding, features, view)
            else:
                revision = binding.router.revision
                place = decision_key(tenant, revision, view.digest, features, router=model)
                found = self.store.peek(place)
                outcome = "hit"
                if found is None:
                    found, outcome = await self._decide(self.store, place, model, binding, features, view)
                decision = found
            if excluded:
                decision = dataclasses.replace(decision, excluded=excluded)
            if key is not None:
                if sticky is not None and sticky != decision.expert:
                    switch = switch_of(sticky, features, offered, view, sticky in self.pool.members)
                await self.sessions.keep(key, decision.expert)
        routed = Routed(
            model=model,
            decision=decision,
            cache=outcome,
            route_us=round((self._clock() - started) * 1e6),
            switch=switch,
        )
        self._observer.routed(routed)
        return routed

    async def complete(
        self,
        request: ChatRequest,
        context: Context,
        session: str | None = None,
        trail: Trail | None = None,
        guard: Guard | None = None,
        work: Work | None = None,
    ) -> Served:
        """Route, then ask the ranked experts in turn until one begins to answer.

        `trail` is filled in on the way; what it holds stays when this raises or is cancelled. The `guard` is
        asked about every expert, those to fall back on too. `work` is what to ask for when it is no chat;
        `request` is the chat that stands for it then.

        Raises:
            CoeError: what `route` raises, or the last expert's error when all that may be asked have failed.
        """
        trail = trail or Trail()
        attempts = trail.attempts
        trail.routed = routed = await self.route(request, context.tenant, session, guard, work)
        if guard is not None and guard.wants_usage(request.body):
            request = with_usage(request)
            work = work and work.with_usage(request)
        last: CoeError | None = None
        asked = 0
        if self.retries is not None:
            self.retries.request()
        for ranked in routed.decision.ranked:
            if asked == self._max_attempts or (attempts and context.remaining_s() <= 0):
                break
            member = self.pool.member(ranked.expert)
            started = self._clock()
            if not member.breaker.admit(started):
                continue
            if asked and self.retries is not None and not self.retries.retry(started):
                break
            if guard is not None and (refused := await guard.admit(member.expert.card)) is not None:
                last = last or refused
                continue
            try:
                reply, chunks = await self._ask(member, request, context, work)
            except asyncio.CancelledError:
                attempts.append(Attempt(member.name, "cancelled", self._clock() - started))
                raise
            except ExpertError as error:
                last = error
                if guard is not None:
                    guard.failed(error)
                asked += not isinstance(error, ExpertBusy)
                attempts.append(Attempt(member.name, error.code, self._clock() - started))
                self._observer.attempted(attempts[-1])
                if not error.retryable:
                    raise
                continue
            attempts.append(Attempt(member.name, "", self._clock() - started))
            self._observer.attempted(attempts[-1])
            if guard is not None:
                chunks = guard.answered(member.expert.card, reply, chunks)
            return Served(
                routed=routed,
                card=member.expert.card,
                attempts=tuple(attempts),
                reply=reply,
                body=reply.body,
                chunks=chunks,
            )
        raise last or ExpertUnavailable("Every expert that could answer keeps failing and is left alone.")

    async def start(self) -> None:
        """Connect the cache and wake the experts that need time. One that cannot start stays asleep."""
        if self.prober is not None:
            self.prober.start()
        if self.store is not None:
            await self.store.connect()
        startable = [member.startable for member in self.pool.members.values() if member.startable]
        await asyncio.gather(*(each.start() for each in startable), return_exceptions=True)

    async def aclose(self, living: Iterable[Engine] = ()) -> None:
        """Close the cache and the experts, but for those that the `living` engines have taken over."""
        living = tuple(living)
        if self.prober is not None:
            await self.prober.aclose()
        if self.store is not None and all(self.store is not each.store for each in living):
            await self.store.aclose()
        await self.pool.aclose(each.pool for each in living)

    # --- routing ---

    async def _decide(
        self,
        store: DecisionStore,
        key: bytes,
        model: str,
        binding: RouterBinding,
        features: Features,
        view: PoolView,
    ) -> tuple[Decision, CacheOutcome]:
        decision, source = await store.get_or_compute(
            key,
            binding.router.revision,
            lambda: self._run(model, binding, features, view),
            lambda shared: _fits(shared, view),
        )
        return decision, "miss" if source is Source.COMPUTED else "hit"

    def _run(self, name: str, binding: RouterBinding, features: Features, view: PoolView) -> Decision:
        """The router's decision; the first expert of the pool when the router fails."""
        if binding.breaker.admit(self._clock()):
            try:
                decision = binding.router.route(features, view)
                if _fits(decision, view):
                    binding.breaker.success()
                    return decision
            # A router is a plugin: whatever it raises, the request is still answered.
            except Exception as error:  # noqa: BLE001
                why = type(error).__name__
            else:
                why = "chose outside the pool view"
            self._observer.router_failed(name, why)
            binding.breaker.failure(self._clock())
        ranked = tuple(Ranked(name) for name in view.experts)
        return Decision(
            expert=ranked[0].expert,
            ranked=ranked,
            reason=Reason.ROUTER_FAILED,
            uncertainty=1.0,
            revision=binding.router.revision,
        )

    def _requested(self, name: str, features: Features, guard: Guard | None) -> Decision:
        """The caller named an expert: no routing, but the same hard filter."""
        if name not in self.pool.members:
            raise unknown_model(name, self.routers, self.pool.members)
        candidates(features, self.pool.view((name,)), guard)
        return requested(name)

    def _only(self, name: str, binding: RouterBinding, features: Features, guard: Guard | None) -> Decision:
        """The only expert that can do it: no router could say which of several is meant."""
        view = self.pool.view(binding.experts)
        able = [each for each, state in view.experts.items() if features.required <= state.card.capabilities]
        if len(able) > 1:
            raise choose_one(name, able)
        _, excluded = candidates(features, view, guard)
        return Decision(
            expert=able[0], ranked=(Ranked(able[0]),), reason=Reason.ONLY_ELIGIBLE, excluded=excluded
        )

    def _cards(self, model: str) -> list[Card]:
        """Cards of those who may be asked."""
        binding = self.routers.get(model)
        if binding is None and model not in self.pool.members:
            return []
        view = self.pool.view((model,) if binding is None else binding.experts)
        return [state.card for state in view.experts.values()]

    # --- asking ---

    async def _ask(
        self, member: Member, request: ChatRequest, context: Context, work: Work | None
    ) -> tuple[Reply, AsyncGenerator[bytes, None] | None]:
        """Ask one expert, up to the first byte of its answer; its breaker learns how it went."""
        name = member.name
        member.in_flight += 1
        streaming = False
        try:
            if work is None and member.punctual and not request.body.stream:
                reply = await member.expert.complete(request, context)
                if reply.body is None:
                    raise ExpertProtocolError(f"`{name}` answered nothing.", expert=name)
                self.pool.succeeded(name)
                return reply, None
            with Limit(self._deadlines, context.remaining_s()):
                if work is None:
                    reply = await member.expert.complete(request, context)
                else:
                    reply = await work.ask(member.expert, context)
                if reply.chunks is None:
                    if reply.body is None:
                        raise ExpertProtocolError(f"`{name}` answered nothing.", expert=name)
                    self.pool.succeeded(name)
                    return reply, None
                first = await anext(reply.chunks, None)
                if first is None:
                    raise ExpertProtocolError(f"`{name}` answered an empty stream.", expert=name)
            streaming = True
            self.pool.succeeded(name)
            rest = self._rest(member, first, reply.chunks)
            # Let it begin: one that is closed before that would not clean up.
            await anext(rest)
            return reply, rest
        except ExpertRejected:
            self.pool.succeeded(name)
            raise
        except ExpertBusy:  # it was not asked, so nothing is known of its health
            raise
        except ExpertError:
            self.pool.failed(name)
            raise
        except TimeoutError as error:
            self.pool.failed(name)
            raise ExpertTimeout(f"`{name}` did not answer within the deadline.", expert=name) from error
        # An expert is a plugin: whatever it raises is its failure, and the next one is asked.
        except Exception as error:
            self.pool.failed(name)
            raise ExpertProtocolError(f"`{name}` broke: {type(error).__name__}.", expert=name) from error
        finally:
            if not streaming:
                member.in_flight -= 1

    async def _rest(
        self, member: Member, first: bytes, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """The whole stream; a failure in it counts against the expert and ends it with an `ExpertError`."""
        try:
            yield b""
            yield first
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            failure = (
                error
                if isinstance(error, ExpertError)
                else ExpertProtocolError(
                    f"`{member.name}` broke: {type(error).__name__}.", expert=member.name
                )
            )
            self.pool.failed(member.name)
            self._observer.stream_failed(member.name, failure.code)
            raise failure from error
        finally:
            member.in_flight -= 1
            await chunks.aclose()


def _fits(decision: Decision, view: PoolView) -> bool:
    """Whether a decision names members of the view only, the chosen one first."""
    ranked = decision.ranked
    return (
        bool(ranked)
        and ranked[0].expert == decision.expert
        and all(each.expert in view.experts for each in ranked)
    )
