"""The two-step router: classify the prompt, then take the category's best eligible expert.

Source: Composition of Experts, arXiv 2412.01868.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coe.contracts import GENERAL, Decision, Features, PoolView, Ranked, Reason
from coe_routers.routing._agreement import Agreement
from coe_routers.routing._ranking import Ranking, rank

if TYPE_CHECKING:
    from coe.contracts import Classifier
    from coe_routers.artifact import ExpertMap
    from coe_routers.classifiers import Abstention

_TOP_CATEGORIES = 5
_CACHED_RANKINGS = 1024


class TwoStepRouter:
    """Classifier and expert map.

    Args:
        classifier: the first step.
        expert_map: the second step; may be empty, then the domains of the experts' cards decide.
        abstention: when a prompt is `general`.
        awake_tolerance: expected score that may be given up for an expert that is awake.
        revision: hash of all of these.
        agreement: what it takes to be sent to a guarded expert; None where none is guarded.
    """

    def __init__(
        self,
        classifier: Classifier,
        expert_map: ExpertMap,
        *,
        abstention: Abstention,
        awake_tolerance: float,
        revision: str,
        agreement: Agreement | None = None,
    ) -> None:
        self.classifier = classifier
        self._expert_map = expert_map
        self._abstention = abstention
        self._awake_tolerance = awake_tolerance
        self._revision = revision
        self._agreement = agreement
        # A view's digest names everything that a ranking depends on, so a ranking is computed once for it.
        self._rankings: dict[tuple[str, str], Ranking] = {}

    @property
    def revision(self) -> str:
        """Hash of the classifier, the map and the limits."""
        return self._revision

    @property
    def categories(self) -> tuple[str, ...]:
        """What prompts are told apart into, `general` last."""
        return (*self.classifier.categories, GENERAL)

    def route(self, features: Features, view: PoolView) -> Decision:
        """Decide for one request."""
        return self.route_batch([features], view)[0]

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """Decide for many requests; the same decisions as one by one."""
        if not features:
            return []
        found = self.classifier.classify(features)
        rows: list[list[float]] = found.probabilities.tolist()
        return [
            self._decide(each, view, probabilities, uncertainty, unsure)
            for each, probabilities, uncertainty, unsure in zip(
                features,
                rows,
                found.uncertainty.tolist(),
                self._abstention.reasons(found),
                strict=True,
            )
        ]

    def _decide(
        self,
        features: Features,
        view: PoolView,
        probabilities: Sequence[float],
        uncertainty: float,
        unsure: Reason | None,
    ) -> Decision:
        top = _top(self.classifier.categories, probabilities)
        category = GENERAL if unsure else top[0][0]
        ranking = self._ranking(category, view)
        if (
            self._agreement is not None
            and unsure is None
            and self._disputed(self._agreement, features, view, ranking)
        ):
            unsure, category = Reason.UNCERTAIN, GENERAL
            ranking = self._ranking(GENERAL, view)
        ranked, reason = ranking.ranked, ranking.reason
        if reason is not Reason.ONLY_ELIGIBLE:
            if (sticky := features.sticky_expert) is not None and sticky in view.experts:
                ranked, reason = _first(sticky, ranked), Reason.SESSION
            elif unsure is not None:
                reason = unsure
        return Decision(
            expert=ranked[0].expert,
            ranked=ranked,
            reason=reason,
            category=category,
            probabilities=top,
            uncertainty=_four_digits(uncertainty),
            revision=self._revision,
        )

    def _disputed(self, agreement: Agreement, features: Features, view: PoolView, ranking: Ranking) -> bool:
        """Whether a guarded expert would answer although parts of the prompt speak against it."""
        first = ranking.ranked[0].expert
        if first not in agreement.experts or ranking.reason is Reason.ONLY_ELIGIBLE:
            return False
        if self._ranking(GENERAL, view).ranked[0].expert in agreement.experts:
            return False  # there is nobody cheaper to turn to
        return not agreement.holds(
            features, self.classifier, lambda category: self._ranking(category, view).ranked[0].expert
        )

    def _ranking(self, category: str, view: PoolView) -> Ranking:
        key = (view.digest, category)
        if (ranking := self._rankings.get(key)) is None:
            if len(self._rankings) >= _CACHED_RANKINGS:
                self._rankings.clear()
            ranking = rank(category, view, self._expert_map, self._awake_tolerance)
            self._rankings[key] = ranking
        return ranking


def _top(categories: Sequence[str], values: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """The most probable categories; equal ones in the classifier's order."""
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:_TOP_CATEGORIES]
    return tuple([(categories[index], _four_digits(values[index])) for index in order])


def _four_digits(value: float) -> float:
    """Of a number of 0 or more, in a third of the time of `round`, which writes it down to do so."""
    return int(value * 1e4 + 0.5) / 1e4


def _first(expert: str, ranked: tuple[Ranked, ...]) -> tuple[Ranked, ...]:
    return tuple(sorted(ranked, key=lambda each: each.expert != expert))
