"""One request's dealings with its tenant's limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from coe.contracts import Capability, Card, Excluded, Features, PoolView, Reply
from coe.errors import BudgetExceeded, ExpertError, ExpertTimeout, ModelNotFound, RateLimited
from coe.pool import narrow
from coe.tenants._account import UNPRICED, Account, Reservation, too_dear
from coe.tenants._counters import Counters
from coe.tenants._levels import Levels
from coe.tenants._limits import NANO
from coe.tenants._policy import cost_nano
from coe.tenants._usage import UsageFilter
from coe.wire import ChatBody, Usage

ASSUMED_COMPLETION_TOKENS = 512
"""What a completion is reckoned as, for the budget, when the request does not limit it."""
_ANSWERS_NOTHING: frozenset[Capability] = frozenset({"embed", "score"})
"""What is asked for that has no completion."""
_MOST_TOKENS = 1_000_000_000
"""No request is reckoned as more: numbers that a caller chooses must not overflow ours."""


class TenantGuard:
    """The `coe.engine.Guard` of one request.

    Args:
        account: the tenant's.
        counters: of the tenant's policy.
        answers: False for a request that only asks for a decision, and takes no tokens.
    """

    __slots__ = (
        "_account",
        "_answers",
        "_asked",
        "_completion_tokens",
        "_counters",
        "_hides_usage",
        "_levels",
        "_prompt_tokens",
        "_reservation",
        "_reserved_tokens",
        "_room",
        "_strong_given",
    )

    def __init__(self, account: Account, counters: Counters, *, answers: bool) -> None:
        self._account = account
        self._counters = counters
        self._answers = answers
        self._levels: Levels | None = None
        self._room = True
        self._prompt_tokens = self._completion_tokens = self._reserved_tokens = 0
        self._reservation: Reservation | None = None
        self._asked = self._strong_given = self._hides_usage = False

    async def enter(self, body: ChatBody, features: Features) -> None:
        """Count the request against the limits per minute.

        Raises:
            ModelNotFound: the tenant may not ask for this model.
            RateLimited: there is no room for it.
        """
        self._counters.requests += 1
        models = self._account.policy.models
        if models is not None and body.model not in models:
            raise _not_for_this_tenant(body.model, sorted(models))
        wanted = body.max_completion_tokens or body.max_tokens or 0
        self._prompt_tokens = _bounded(features.tokens - wanted)
        choices = max(body.n or 1, 1)
        if features.required.isdisjoint(_ANSWERS_NOTHING):
            self._completion_tokens = _bounded((max(wanted, 0) or ASSUMED_COMPLETION_TOKENS) * choices)
        if self._answers:
            # What the request does not limit is charged when it is known.
            self._reserved_tokens = _bounded(self._prompt_tokens + max(wanted, 0) * choices)
        try:
            self._levels, self._room = await self._account.enter(self._reserved_tokens)
        except RateLimited:
            self._counters.rate_limited += 1
            raise

    def narrow(self, view: PoolView) -> tuple[PoolView, tuple[Excluded, ...]]:
        """The experts of the view that the tenant may be answered by, and the others, each with a reason.

        Raises:
            BudgetExceeded: there are none, for want of money or of the share of strong experts.
        """
        policy = self._account.policy
        left = self._account.left()
        if left is None and policy.experts is None and self._room:
            return view, ()
        excluded: list[Excluded] = []
        refusal: BudgetExceeded | None = None
        cheapest = self._cheapest(view, left)
        for name, state in view.experts.items():
            why, error = self._why_not(name, state.card, left, cheapest)
            if why:
                excluded.append(Excluded(name, why))
                refusal = refusal or error
        if not excluded:
            return view, ()
        out = {each.expert for each in excluded}
        fit = {name: state for name, state in view.experts.items() if name not in out}
        if not fit and refusal is not None:
            self._counters.budget_exceeded += 1
            raise refusal
        self._counters.stepped_down += refusal is not None
        return narrow(view, fit), tuple(excluded)

    def wants_usage(self, body: ChatBody) -> bool:
        """Where tokens or money are counted, every stream must say what it used."""
        if not body.stream or (body.stream_options is not None and body.stream_options.include_usage):
            return False
        policy = self._account.policy
        self._hides_usage = bool(policy.tokens_per_minute) or policy.budget is not None
        return self._hides_usage

    async def admit(self, card: Card) -> BudgetExceeded | None:
        """Reserve what asking this expert may cost. Returns why it may not be asked.

        Raises:
            BudgetExceeded: it may not, it is the first choice, and the policy wants no other in its place.
        """
        if not self._account.reserves:
            return None
        policy = self._account.policy
        strong = not self._strong_given and card.name in policy.strong
        cost = cost_nano(card, self._prompt_tokens, self._completion_tokens)
        reserved = await self._account.reserve(card, cost, strong=strong)
        if isinstance(reserved, BudgetExceeded):
            if not policy.step_down and not self._asked:
                self._counters.budget_exceeded += 1
                raise reserved
            self._counters.stepped_down += 1
            return reserved
        self._asked = True
        self._reservation = reserved
        # One request takes one part of the share, however many strong experts are asked.
        self._strong_given = self._strong_given or strong
        return None

    def failed(self, error: ExpertError) -> None:
        """The expert that was admitted did not answer. A call that ran out of time may have been billed."""
        if self._reservation is not None and not isinstance(error, ExpertTimeout):
            self._account.settle(self._reservation, 0, 0)
        self._reservation = None

    def answered(
        self, card: Card, reply: Reply, chunks: AsyncGenerator[bytes, None] | None
    ) -> AsyncGenerator[bytes, None] | None:
        """The expert answers: settle now, or at the end of the stream that is returned."""
        if chunks is None:
            self._settle(card, reply, 0)
            return None
        return self._metered(card, reply, chunks)

    def headers(self) -> Mapping[str, str]:
        """`x-ratelimit-*` headers for the answer."""
        return self._levels.headers(admitted=True) if self._levels is not None else {}

    # --- inside

    def _cheapest(self, view: PoolView, left: int | None) -> int | None:
        """What the request costs at least, where it is time to save; None where it is not."""
        saving_below = self._account.policy.saving_below
        if saving_below is None or left is None or left > saving_below:
            return None
        costs = [
            cost_nano(state.card, self._prompt_tokens, self._completion_tokens)
            for name, state in view.experts.items()
            if not self._why_not(name, state.card, left, None)[0]
        ]
        return min((cost for cost in costs if cost is not None), default=None)

    def _why_not(
        self, name: str, card: Card, left: int | None, cheapest: int | None
    ) -> tuple[str, BudgetExceeded | None]:
        account, policy = self._account, self._account.policy
        if policy.experts is not None and name not in policy.experts:
            return "is not allowed for this tenant", None
        if left is not None:
            cost = cost_nano(card, self._prompt_tokens, self._completion_tokens)
            if cost is None:
                return UNPRICED, None
            if policy.step_down and cost > max(left, 0):
                why = too_dear(cost, left)
                return why, account.over_budget(f"`{name}` {why}")
            if cheapest is not None and cost > cheapest:
                why = "is not the cheapest, and most of the budget is spent"
                return why, account.over_budget(f"`{name}` {why}")
        if policy.step_down and not self._room and name in policy.strong:
            why = account.too_strong()
            return why, account.over_share(f"`{name}` {why}")
        return "", None

    async def _metered(
        self, card: Card, reply: Reply, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        events = 0
        hidden = UsageFilter() if self._hides_usage else None
        try:
            async for piece in chunks:
                events += piece.count(b"data:")
                if hidden is None:
                    yield piece
                elif passed := hidden.feed(piece):
                    yield passed
            if hidden is not None and (rest := hidden.rest()):
                yield rest
        finally:
            if hidden is not None:
                reply.usage = reply.usage or hidden.usage
            await chunks.aclose()
            self._settle(card, reply, events)

    def _settle(self, card: Card, reply: Reply, events: int) -> None:
        """Charge what the answer has cost.

        Without a usage from the expert it is what was reckoned, or a token for each event of the stream if
        those are more; the reply then says that it is an estimate.
        """
        if reply.usage is None:
            prompt, completion = self._prompt_tokens, max(self._completion_tokens, events)
            reply.usage = Usage(
                prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion
            )
            reply.estimated = True
        prompt = _bounded(reply.usage.prompt_tokens)
        completion = _bounded(reply.usage.completion_tokens)
        self._counters.estimated += reply.estimated
        cost = cost_nano(card, prompt, completion)
        if reply.cost_usd is not None:
            cost = max(round(reply.cost_usd * NANO), 0)
        self._account.settle(self._reservation, cost, prompt + completion - self._reserved_tokens)
        self._reservation = None
        self._counters.prompt_tokens += prompt
        self._counters.completion_tokens += completion
        self._counters.spent_nano += cost or 0


def _bounded(tokens: int) -> int:
    return min(max(tokens, 0), _MOST_TOKENS)


def _not_for_this_tenant(name: str, models: list[str]) -> ModelNotFound:
    known = ", ".join(f"`{each}`" for each in models)
    return ModelNotFound(
        f"No model is called `{name}`, or this key may not use it.",
        param="model",
        hint=f"It may use: {known}.",
    )
