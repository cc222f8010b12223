"""Short ways to make what a plugin is handed: requests, contexts, pool views."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coe.contracts import Card, Context, ExpertState, PoolView
from coe.wire import ChatRequest, chat_request


def chat(messages: str | Sequence[Mapping[str, Any]], /, **fields: Any) -> ChatRequest:
    """A chat completion request, validated as the gateway does.

    Args:
        messages: the messages, or the text of a single user message.
        fields: more fields of the body; `model` is `auto` unless given.

    Raises:
        InvalidRequest: as for a client's request.
    """
    listed = (
        [{"role": "user", "content": messages}] if isinstance(messages, str) else list(map(dict, messages))
    )
    return chat_request({"model": "auto", "messages": listed, **fields})


def context(
    *,
    tenant: str = "test",
    request_id: str = "request-1",
    timeout_s: float = 30,
    clock: Callable[[], float] = time.monotonic,
) -> Context:
    """A request's context whose deadline is `timeout_s` seconds from now on `clock`."""
    return Context(tenant=tenant, request_id=request_id, deadline=clock() + timeout_s, clock=clock)


def pool_view(*experts: str | Card | ExpertState) -> PoolView:
    """A pool view of these experts, in this order; a name alone stands for a default card.

    The digest changes whenever any fact of any expert does.
    """
    states = [_state(expert) for expert in experts]
    facts = "\n".join(_facts(state) for state in states)
    return PoolView(
        experts={state.card.name: state for state in states},
        digest=hashlib.sha256(facts.encode()).hexdigest()[:16],
    )


def _state(expert: str | Card | ExpertState) -> ExpertState:
    if isinstance(expert, ExpertState):
        return expert
    return ExpertState(Card(name=expert) if isinstance(expert, str) else expert)


def _facts(state: ExpertState) -> str:
    # Sorted, because the order of a frozenset differs from one process to the next.
    values = {name: getattr(state.card, name) for name in Card.__dataclass_fields__}
    values["capabilities"] = sorted(state.card.capabilities)
    return repr((values, state.healthy, state.awake, state.load))
