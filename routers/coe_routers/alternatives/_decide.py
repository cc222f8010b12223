"""From an order of experts to a decision: what every router here does in the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

from coe.contracts import GENERAL, Decision, Features, PoolView, Ranked, Reason
from coe_routers.alternatives._prediction import Prediction


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


class Model(Protocol):
    """What predicts how well each expert would do."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the columns of a prediction."""
        ...

    def predict(self, features: Sequence[Features]) -> Prediction:
        """Predict for n prompts; row by row, so that a batch gives what single prompts give."""
        ...


class PredictingRouter:
    """Ranks the experts by what a model predicts for the prompt.

    Args:
        model: predicts scores and what is maximised.
        revision: hash of the model and its settings.
    """

    def __init__(self, model: Model, revision: str) -> None:
        self.model = model
        self._revision = revision

    @property
    def revision(self) -> str:
        """Hash of the model and its settings."""
        return self._revision

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide for one request."""
        return self.route_batch([features], view)[0]

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many requests; the same decisions as one by one."""
        if not features:
            return []
        found = self.model.predict(features)
        order: list[list[int]] = (-found.utility).argsort(axis=1, kind="stable").tolist()
        scores: list[list[float]] = found.score.clip(0.0, 1.0).round(4).tolist()
        return [
            decide(
                each,
                view,
                [Ranked(self.model.experts[column], scores[row][column]) for column in order[row]],
                revision=self._revision,
                category=found.category[row] if found.category else GENERAL,
                uncertainty=float(found.uncertainty[row]),
                unsure=None if found.evidence[row] else Reason.UNCERTAIN,
            )
            for row, each in enumerate(features)
        ]


def revision_of(*facts: Any) -> str:
    """Hash of plain values."""
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()


def _healthy_first(experts: Sequence[Ranked], view: PoolView) -> list[Ranked]:
    return sorted(experts, key=lambda ranked: not view.experts[ranked.expert].healthy)
