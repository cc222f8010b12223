"""The hard filter before any score: an expert that cannot serve a request is never a candidate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import inf

from coe.contracts import Capability, Card, Excluded, ExpertState, Features, PoolView

_MAX_KNOWN = 1024
_all_fit: dict[tuple[str, frozenset[Capability]], float] = {}
"""Most requests exclude nobody. By view and requirements: up to how many tokens that holds."""


def eligible(features: Features, view: PoolView) -> tuple[PoolView, tuple[Excluded, ...]]:
    """Split the pool into those that can serve the request and those that cannot, each with a reason.

    Returns `view` itself when nobody is excluded.
    """
    known = _all_fit.get((view.digest, features.required))
    if known is not None and features.tokens <= known:
        return view, ()
    excluded = tuple(
        Excluded(name, why) for name, state in view.experts.items() if (why := _unfit(features, state))
    )
    if not excluded:
        windows = [state.card.context_window for state in view.experts.values()]
        if len(_all_fit) >= _MAX_KNOWN:
            _all_fit.clear()
        _all_fit[view.digest, features.required] = min((w for w in windows if w is not None), default=inf)
        return view, ()
    out = {each.expert for each in excluded}
    return narrow(view, {name: state for name, state in view.experts.items() if name not in out}), excluded


def narrow(view: PoolView, experts: Mapping[str, ExpertState]) -> PoolView:
    """A view of fewer experts, with a digest of its own."""
    digest = hashlib.blake2b("\0".join((view.digest, *experts)).encode(), digest_size=16)
    return PoolView(experts, digest.hexdigest())


def why_unfit(features: Features, card: Card) -> str:
    """Which requirement of the request the expert does not meet; empty when it meets all."""
    if missing := features.required - card.capabilities:
        return "cannot do " + ", ".join(sorted(missing))
    if card.context_window is not None and features.tokens > card.context_window:
        return (
            f"has a context window of {card.context_window} tokens; the request needs about {features.tokens}"
        )
    return ""


def _unfit(features: Features, state: ExpertState) -> str:
    return why_unfit(features, state.card) or ("" if state.healthy else "keeps failing and is left alone")
