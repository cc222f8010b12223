"""Short ways to make what a plugin is handed: requests, contexts, pool views, a build."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe.contracts import Build, Card, Context, Embedder, Expert, ExpertState, PoolView
from coe.errors import ConfigError, PluginError
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


def build(
    *,
    experts: Mapping[str, Expert] | None = None,
    embedders: Mapping[str, Embedder] | None = None,
    card: Mapping[str, Any] | None = None,
    base_dir: Path | None = None,
) -> Build:
    """What a plugin's `create` is handed.

    Args:
        experts: the pool's other experts, by name.
        embedders: embedders by kind.
        card: the user's `card:` keys, laid over the plugin's defaults.
        base_dir: where relative paths start; the working directory by default.
    """
    return _Build(dict(experts or {}), dict(embedders or {}), dict(card or {}), base_dir or Path.cwd())


@dataclass(frozen=True, slots=True)
class _Build:
    experts: dict[str, Expert]
    embedders: dict[str, Embedder]
    card_keys: dict[str, Any]
    base_dir: Path

    def card(self, defaults: Card) -> Card:
        return dataclasses.replace(defaults, **self.card_keys)

    def expert(self, name: str) -> Expert:
        if name not in self.experts:
            raise ConfigError(
                f"No expert is called `{name}`.", hint=f"Known: {', '.join(self.experts) or 'none'}."
            )
        return self.experts[name]

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        if kind not in self.embedders:
            raise PluginError(f"No embedder plugin is called `{kind}`.")
        return self.embedders[kind]


def _state(expert: str | Card | ExpertState) -> ExpertState:
    if isinstance(expert, ExpertState):
        return expert
    return ExpertState(Card(name=expert) if isinstance(expert, str) else expert)


def _facts(state: ExpertState) -> str:
    # Sorted, because the order of a frozenset differs from one process to the next.
    values = {name: getattr(state.card, name) for name in Card.__dataclass_fields__}
    values["capabilities"] = sorted(state.card.capabilities)
    return repr((values, state.healthy, state.awake))
