"""From a category to ranked experts. Pure functions of the map and the pool view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coe.contracts import GENERAL, Card, PoolView, Ranked, Reason

if TYPE_CHECKING:
    from coe_routers.artifact import ExpertMap


@dataclass(frozen=True, slots=True)
class Ranking:
    """All eligible experts, best first, and why the first one is first."""

    ranked: tuple[Ranked, ...]
    reason: Reason


def rank(category: str, view: PoolView, expert_map: ExpertMap, awake_tolerance: float) -> Ranking:
    """Rank every expert of the view for a category.

    First the category's experts: those of the map or, where the map says nothing, those whose card names
    the category among its domains. Then the experts of `general`, found in the same way. Then the rest in
    the order of the pool.

    Args:
        category: a category of the classifier, or `general`.
        view: the eligible experts, at least one.
        expert_map: category to experts with expected scores.
        awake_tolerance: expected score that may be given up for an expert that is awake. Experts whose map
            entry has no score are never swapped: what would be given up is unknown.
    """
    own = _healthy_first(_experts_of(category, view, expert_map), view)
    if len(view.experts) == 1:
        return Ranking(_all(own, view, expert_map), Reason.ONLY_ELIGIBLE)
    if not own:
        return Ranking(_all((), view, expert_map), Reason.UNMAPPED)
    if (awake := _awake_instead(own, view, awake_tolerance)) is not None:
        return Ranking(_all((awake, *own), view, expert_map), Reason.AWAKE)
    if (idler := _less_loaded(own[0], view)) is not None:
        return Ranking(_all((idler, *own), view, expert_map), Reason.LESS_LOADED)
    return Ranking(_all(own, view, expert_map), Reason.CATEGORY)


def _experts_of(category: str, view: PoolView, expert_map: ExpertMap) -> list[Ranked]:
    if category in expert_map:
        return [ranked for ranked in expert_map[category] if ranked.expert in view.experts]
    return [Ranked(name) for name, state in view.experts.items() if category in state.card.domains]


def _awake_instead(own: Sequence[Ranked], view: PoolView, tolerance: float) -> Ranked | None:
    best = own[0]
    if view.experts[best.expert].awake or best.score is None:
        return None
    for other in own[1:]:
        near = other.score is not None and other.score >= best.score - tolerance
        if near and view.experts[other.expert].awake and view.experts[other.expert].healthy:
            return other
    return None


def _less_loaded(best: Ranked, view: PoolView) -> Ranked | None:
    """A replica with the least load: awake, and the same as the best one but for its name and words."""
    state = view.experts[best.expert]
    if state.load == 0:
        return None
    same = _facts(state.card)
    replicas = [
        (other.load, name)
        for name, other in view.experts.items()
        if other.load < state.load and other.healthy and other.awake and _facts(other.card) == same
    ]
    if not replicas:
        return None
    _, name = min(replicas, key=lambda each: each[0])
    return Ranked(name, best.score)


def _facts(card: Card) -> Card:
    return replace(card, name="", description="")


def _all(first: Sequence[Ranked], view: PoolView, expert_map: ExpertMap) -> tuple[Ranked, ...]:
    general = _healthy_first(_experts_of(GENERAL, view, expert_map), view)
    rest = _healthy_first(map(Ranked, view.experts), view)
    # Scores of `general` are not comparable with the category's: only the order is taken from it.
    unscored = (Ranked(ranked.expert) for ranked in (*general, *rest))
    chosen: dict[str, Ranked] = {}
    for ranked in (*first, *unscored):
        chosen.setdefault(ranked.expert, ranked)
    return tuple(chosen.values())


def _healthy_first(experts: Iterable[Ranked], view: PoolView) -> list[Ranked]:
    return sorted(experts, key=lambda ranked: not view.experts[ranked.expert].healthy)
