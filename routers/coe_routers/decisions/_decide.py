"""From an order of experts to a decision: what every router but the two-step one does in the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from coe.contracts import GENERAL, Decision, Features, PoolView, Ranked, Reason


def decide(
    features: Features,
    view: PoolView,
    preferred: Sequence[Ranked],
    *,
    revision: str,
    category: str = GENERAL,
    probabilities: tuple[tuple[str, float], ...] = (),
    uncertainty: float = 0.0,
    unsure: Reason | None = None,
) -> Decision:
    """The decision that an order of experts leads to.

    Experts of the view that `preferred` does not name follow in the order of the pool, without a score.
    Healthy experts go first, and a session keeps its expert.

    Args:
        features: of the request.
        view: eligible experts, at least one.
        preferred: experts, best first; those outside the view are left out.
        revision: of the router.
        category, probabilities: what the prompt was taken for, where the router knows categories.
        uncertainty: 0 (sure) .. 1 (no idea).
        unsure: why `preferred` is the order of `general`, where it is.
    """
    known = [ranked for ranked in preferred if ranked.expert in view.experts]
    named = {ranked.expert for ranked in known}
    rest = [Ranked(name) for name in view.experts if name not in named]
    ranked = [*_healthy_first(known, view), *_healthy_first(rest, view)]
    sticky = features.sticky_expert
    if len(view.experts) == 1:
        reason = Reason.ONLY_ELIGIBLE
    elif sticky is not None and sticky in view.experts:
        reason = Reason.SESSION
        ranked.sort(key=lambda each: each.expert != sticky)
    elif not known:
        reason = Reason.UNMAPPED
    else:
        reason = unsure or Reason.CATEGORY
    return Decision(
        expert=ranked[0].expert,
        ranked=tuple(ranked),
        reason=reason,
        category=category,
        probabilities=probabilities,
        uncertainty=round(min(max(uncertainty, 0.0), 1.0), 4),
        revision=revision,
    )


def revision_of(*facts: Any) -> str:
    """Hash of plain values."""
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()


def _healthy_first(experts: Sequence[Ranked], view: PoolView) -> list[Ranked]:
    return sorted(experts, key=lambda ranked: not view.experts[ranked.expert].healthy)
