"""Solving a trained router's map again under a budget, with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe_routers.artifact import read_facts, save_expert_map
from coe_routers.expected import map_of, rule_facts, rule_files
from coe_routers.mapping import (
    Budget,
    Choice,
    FrontPoint,
    Marginal,
    PruningPoint,
    Stability,
    choose_map,
    marginal_values,
    pareto_front,
    pruning_curve,
    stability,
)
from coe_routers.offline._state import read_state
from coe_routers.placement import carried_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A solved router and the analysis of its map.

    Attributes:
        revision: of the folder after saving.
        choice: the rule, the map, what they are worth.
        spends: what the map uses of each limit.
        stability: how firmly each category's expert is settled.
        front: the Pareto front over `axis`, by value of the map.
        axis: the limit that was swept; empty when no fact allows one.
        marginal: value lost without each expert.
        pruning: what smaller pools would lose.
    """

    revision: str
    choice: Choice
    spends: Mapping[str, float]
    stability: tuple[Stability, ...]
    front: tuple[FrontPoint, ...]
    axis: str
    marginal: tuple[Marginal, ...]
    pruning: tuple[PruningPoint, ...]


def optimize(
    path: Path,
    budget: Budget,
    *,
    seed: int,
    resamples: int = 100,
    save: bool = True,
    fall_back: bool = True,
) -> Optimized:
    """Solve the map of a router's folder under a budget and save it there; the classifier is untouched.

    Args:
        path: folder that `coe train` wrote.
        budget: what the map must respect.
        seed: of the cross-validation and the resampling.
        resamples: for the stability of the map.
        save: whether to.
        fall_back: whether the best single expert answers everything where routing does not beat it.

    Raises:
        InfeasibleBudget: no map fits; the folder stays as it is.
        ConfigError: the budget names an unknown category or expert.
        ArtifactError: the folder holds no trained router.
    """
    about = read_facts(path)
    evidence = read_state(path).evidence
    choice = choose_map(evidence, budget, seed=seed, fall_back=fall_back)
    routed = len(choice.map.categories) > len(evidence.categories)
    problem = evidence.instance(budget, caution=choice.caution, routed=routed).problem
    axis, front = "", tuple[FrontPoint, ...]()
    for name in ("usd_per_1k", "active_params_b", "p95_latency_s"):
        if not front and (swept := pareto_front(problem, name, budget)):
            axis, front = name, swept
    kind = "expected" if choice.kind == "expected" else "map"
    analysed = Optimized(
        revision="",
        choice=choice,
        spends=choice.map.spends,
        stability=stability(
            evidence, budget, choice.map, caution=choice.caution, seed=seed, resamples=resamples
        ),
        front=front,
        axis=axis,
        marginal=marginal_values(problem, budget, choice.map),
        pruning=pruning_curve(evidence, budget, choice.map, kind=kind, caution=choice.caution, seed=seed),
    )
    if not save:
        return analysed
    expert_map, waiting = carried_over(path, map_of(choice.rule, about.categories))
    revision = save_expert_map(
        path,
        expert_map,
        facts={**rule_facts(choice.rule), **choice_facts(choice, budget, fall_back=fall_back), **waiting},
        files=rule_files(choice.rule),
    )
    return Optimized(
        revision=revision,
        choice=choice,
        spends=analysed.spends,
        stability=analysed.stability,
        front=front,
        axis=axis,
        marginal=analysed.marginal,
        pruning=analysed.pruning,
    )


def choice_facts(choice: Choice, budget: Budget, *, fall_back: bool = True) -> dict[str, Any]:
    """What the router's manifest says of its map, and of how to solve it again."""
    return {
        "decides_by": choice.kind,
        "single": choice.single,
        "expected_score": round(choice.score, 4),
        "verdict": choice.verdict,
        "gap": choice.map.gap,
        "budget": budget.limits(),
        "required": dict(budget.required),
        "forbidden": {category: sorted(experts) for category, experts in budget.forbidden.items()},
        "fall_back": fall_back,
    }


def budget_of(facts: Mapping[str, Any]) -> Budget:
    """The budget that the map of a router's manifest was solved within."""
    forbidden: dict[str, list[str]] = facts.get("forbidden", {})
    return Budget(
        **facts.get("budget", {}),
        required=facts.get("required", {}),
        forbidden={category: frozenset(experts) for category, experts in forbidden.items()},
    )
